"""Curated rows -> a corpus: each row is encoded, those that cannot be learned are dropped and counted by reason."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge.api.stage import TrainTask
from branchmerge.api.training import Overlong, Training
from branchmerge_trainer.curate.dataset import ROWS_FILE, read_messages
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.failures import Interrupted
from branchmerge_trainer.runtime import StageContext
from branchmerge_trainer.train.corpus import Corpus
from branchmerge_trainer.train.encoding import Encoded, Encoder, Rejection
from branchmerge_trainer.train.student import Student
from branchmerge_trainer.train.templates import FIELD, KEEPS_TRACE, training_template
from branchmerge_trainer.turns import end_of_turn_ids

_FOLDER = "corpora"
_OVERLONG = "longer than sequenceLength"
_UNTRAINED = "no token to learn"
_CHECK_ROWS = 256
"""Rows between two looks at what the template does to them, and at a request to stop."""
_TOLERATED = 0.01
"""Share of odd rows (0-1) that are dropped and counted; where a template spoils more of them, it is the mistake."""
_POLL_SECONDS = 0.2
_ADVICE = {
    Rejection.PROMPT_DIFFERS: "evaluation uses the student's own template: train with one that has the same prompts",
    Rejection.NOT_CONTINUED: f"for DeepSeek-R1's distilled models use {KEEPS_TRACE}, else a Jinja file whose turns "
    "begin like its generation prompt",
    Rejection.TRACE_LOST: f"for DeepSeek-R1's distilled models use {KEEPS_TRACE}, else a Jinja file that keeps "
    "<think>…</think>",
    Rejection.NOT_CLOSED: "use a Jinja file that ends each turn with the token that ends generation",
}


def open_corpora(task: TrainTask, student: Student, context: StageContext, *, rank: int) -> list[Corpus]:
    """The corpora of the branch and, after it, of the branches that are replayed.

    Rank 0 makes what an earlier attempt has not; the other ranks wait for it. Raises InputError where rows are
    missing, where a chat template does not fit them, or where none is left.
    """
    template = training_template(task.training.chat_template.training, student.tokenizer, context.workspace)
    if not student.has_template:
        student.tokenizer.chat_template = template
    folders = {
        f"branch {task.branch}": task.rows,
        **{f"replayed branch {source.branch}": source.rows for source in task.replay_sources},
    }
    corpora = []
    for number, (name, rows) in enumerate(folders.items()):
        folder = context.work / _FOLDER / str(number)
        if rank == 0 and not folder.exists():
            encoder = _encoder(task.training, template, student)
            source = _Source(name, context.workspace.path(rows) / ROWS_FILE, task.training, encoder)
            corpora.append(Corpus.write(folder, source.sequences(context), source.facts))
        else:
            _wait_for(folder, context)
            corpora.append(Corpus.open(folder))
    return corpora


def _encoder(training: Training, template: str, student: Student) -> Encoder:
    ends = end_of_turn_ids(student.tokenizer, student.generation_config)
    try:
        return Encoder(student.tokenizer, template, training.loss_on, ends)
    except InputError as error:
        raise InputError(f"{FIELD}: {training.chat_template.training}: {error}") from None


def _wait_for(folder: Path, context: StageContext) -> None:
    while not folder.exists():
        _heed_stop(context)
        time.sleep(_POLL_SECONDS)


def _heed_stop(context: StageContext) -> None:
    if context.stop.requested:
        raise Interrupted("stopped before the first step")


class _Source:
    """The curated rows of one branch."""

    def __init__(self, name: str, file: Path, training: Training, encoder: Encoder) -> None:
        self._name = name
        self._file = file
        self._training = training
        self._encoder = encoder
        self._rows = self._truncated = 0
        self._dropped: Counter[str] = Counter()
        self._refused: dict[Rejection, int] = {}
        """What the template does to rows -> row of the first of them."""
        self.facts: dict[str, Any] = {}
        """Filled once all sequences were taken."""

    def sequences(self, context: StageContext) -> Iterator[Encoded]:
        """The sequences that are learned. Raises InputError where the template is unfit, or nothing is left."""
        context.progress.phase("preparing rows", step=0)
        kept = 0
        for messages in self._messages():
            if self._rows % _CHECK_ROWS == 0:
                _heed_stop(context)
                self._judge_template()
                context.progress.advance(self._rows)
            for sequence in self._encoded(messages):
                kept += 1
                yield sequence
        self._judge_template()
        if not kept:
            raise InputError(self._nothing_left())
        print(f"{self._name}: {kept} sequences of {self._rows} rows, each with its trace and end of turn", flush=True)
        self.facts |= {"rows": self._rows, "truncated": self._truncated, "dropped": dict(self._dropped)}

    def _messages(self) -> Iterator[list[Message]]:
        try:
            for messages in read_messages(self._file):
                self._rows += 1
                yield messages
        except FileNotFoundError:
            raise InputError(
                f"{self._name}: {self._file}: no curated rows: they were removed; run the job again to make them anew"
            ) from None

    def _encoded(self, messages: Sequence[Message]) -> Iterator[Encoded]:
        try:
            encoded = self._encoder.encode(messages)
        except InputError as error:
            raise InputError(f"{self._name}: {self._file}, row {self._rows}: {error}") from None
        if isinstance(encoded, Rejection):
            self._dropped[encoded] += 1
            self._refused.setdefault(encoded, self._rows)
            return
        for sequence in encoded:  # of a row of several sequences, some may be dropped
            fitting = self._fitted(sequence)
            if fitting is None:
                self._dropped[_OVERLONG] += 1
            elif not fitting.mask().any():
                self._dropped[_UNTRAINED] += 1
            else:
                yield fitting

    def _fitted(self, sequence: Encoded) -> Encoded | None:
        if len(sequence.tokens) <= self._training.sequence_length:
            return sequence
        if self._training.overlong is Overlong.DROP:
            return None
        self._truncated += 1
        return sequence.cut(self._training.sequence_length)

    def _judge_template(self) -> None:
        """Raise InputError where the template, and not a few odd rows, is the reason for what was dropped."""
        worst = max(_ADVICE, key=lambda reason: self._dropped[reason])
        if self._dropped[worst] > _TOLERATED * self._rows:
            template = self._training.chat_template.training
            raise InputError(
                f"{FIELD}: {template}: {worst}, in {self._dropped[worst]} of {self._rows} rows of {self._name} "
                f"(first in row {self._refused[worst]} of {self._file}): {_ADVICE[worst]}"
            )

    def _nothing_left(self) -> str:
        if not self._rows:
            return f"{self._name}: {self._file}: no rows: give it data"
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self._dropped.most_common())
        advice = "raise training.sequenceLength, or set training.overlong: Truncate"
        if not self._dropped[_OVERLONG]:
            advice = "give it rows with an answer of the assistant after a question of the user"
        return f"{self._name}: none of {self._rows} rows can be learned ({reasons}): {advice}"

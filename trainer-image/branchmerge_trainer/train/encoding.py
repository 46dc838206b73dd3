"""Rows of messages -> token sequences, with the tokens that are learned marked.

Each turn to learn is put together from two parts: the *prompt* is the very text that evaluation continues (the saved
tokenizer's chat template, the assistant's turn opened), and the *completion* is what the training template renders
after its own prompt. So prompts equal evaluation's by construction, also where a template drops earlier traces from
the history: then each turn of a row is a sequence of its own. Where the next prompt continues the sequence token by
token, the turns share it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from branchmerge.api.training import LossOn
from branchmerge_trainer.chat import render, render_prompt
from branchmerge_trainer.curate.rows import Message

_OPEN, _CLOSE = "<think>", "</think>"
_PROBE: list[Message] = [{"role": "user", "content": "branchmerge"}]


class Rejection(StrEnum):
    """Why a row is not learned: what the chat templates make of it."""

    NO_TURN = "no turn of the assistant after one of the user"
    PROMPT_DIFFERS = "training and evaluation render different prompts"
    NOT_CONTINUED = "the prompt is not the beginning of the rendered turn"
    TRACE_LOST = "the template drops the trace"
    NOT_CLOSED = "the template does not end the turn"


@dataclass
class Encoded:
    """A token sequence."""

    tokens: list[int]
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Half-open ranges of the tokens that are learned."""

    def cut(self, length: int) -> Encoded:
        """The first `length` tokens."""
        spans = [(start, min(end, length)) for start, end in self.spans if start < length]
        return Encoded(self.tokens[:length], spans)

    def mask(self) -> npt.NDArray[np.bool_]:
        """For each token whether it is learned. The first never is: nothing predicts it."""
        mask = np.zeros(len(self.tokens), np.bool_)
        for start, end in self.spans:
            mask[start:end] = True
        mask[:1] = False
        return mask


class Encoder:
    """Encodes rows for one student, one training template and one choice of turns."""

    def __init__(self, tokenizer: Any, template: str, loss_on: LossOn, ends: Collection[int]) -> None:
        """`tokenizer` carries evaluation's chat template, `template` is training's; `ends`: tokens that end a turn.

        Raises InputError where the template cannot be used at all.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._loss_on = loss_on
        self._ends = frozenset(ends)
        self._opening = re.search(rf"{_OPEN}\s*$", self._render(_PROBE, opened=True))

    def encode(self, row: Sequence[Message]) -> list[Encoded] | Rejection:
        """The sequences of a row.

        Raises InputError where a template refuses the row.
        """
        turns = _answered(row)
        if not turns:
            return Rejection.NO_TURN
        sequences: list[Encoded] = []
        for turn in turns[-1:] if self._loss_on is LossOn.LAST_TURN else turns:
            rejection = self._add_turn(sequences, row[:turn], row[turn])
            if rejection is not None:
                return rejection
        if self._loss_on is LossOn.ALL:
            for sequence in sequences:
                sequence.spans = [(0, len(sequence.tokens))]
        return sequences

    def _add_turn(self, sequences: list[Encoded], context: Sequence[Message], answer: Message) -> Rejection | None:
        """Continue the last sequence by a turn, or begin a new one."""
        prompt = render_prompt(self._tokenizer, context)
        completion = self._completion(prompt, context, answer)
        if isinstance(completion, Rejection):
            return completion
        start, tokens = self._tokenize(prompt, completion)
        end = max((place + 1 for place in range(start, len(tokens)) if tokens[place] in self._ends), default=None)
        if end is None:
            return Rejection.NOT_CLOSED
        if not sequences or tokens[: len(sequences[-1].tokens)] != sequences[-1].tokens:
            sequences.append(Encoded([]))
        sequences[-1].tokens = tokens[:end]
        sequences[-1].spans.append((start, end))
        return None

    def _completion(self, prompt: str, context: Sequence[Message], answer: Message) -> str | Rejection:
        """What the model is to write after `prompt`."""
        own = self._template == self._tokenizer.chat_template
        opened = prompt if own else self._render(context, opened=True)
        first = all(message["role"] != "assistant" for message in context)
        if first and opened != prompt:  # later, the two may differ in what they keep of earlier turns
            return Rejection.PROMPT_DIFFERS
        said = self._opened(answer["content"])
        whole = self._render([*context, {**answer, "content": said}], opened=False)
        if not _keeps_trace(whole[len(opened) :], said):
            return Rejection.TRACE_LOST
        return whole.removeprefix(opened) if whole.startswith(opened) else Rejection.NOT_CONTINUED

    def _opened(self, content: str) -> str:
        """The answer such that it begins like the prompt ends, where a prompt opens the trace already.

        An answer without a trace gets an empty one, as models with such prompts write it.
        """
        if self._opening is None or content.startswith(self._opening[0]):
            return content
        if content.startswith(_OPEN):
            return self._opening[0] + content.removeprefix(_OPEN).lstrip()
        if _CLOSE in content:
            return self._opening[0] + content.lstrip()
        return f"{self._opening[0]}\n{_CLOSE}\n\n{content}"

    def _tokenize(self, prompt: str, completion: str) -> tuple[int, list[int]]:
        """(number of the prompt's tokens, all tokens). The prompt's are those that evaluation feeds."""
        before, whole = self._tokenizer([prompt, prompt + completion], add_special_tokens=False)["input_ids"]
        if whole[: len(before)] != before:  # a token crosses the border: generation could not write it
            whole = before + self._tokenizer(completion, add_special_tokens=False)["input_ids"]
        return len(before), whole

    def _render(self, messages: Sequence[Message], *, opened: bool) -> str:
        return render(self._tokenizer, messages, self._template, opened=opened)


def _keeps_trace(text: str, said: str) -> bool:
    """Whether `text` has the trace of what is said, and after it the answer. True where there is no trace."""
    before, closed, answer = said.rpartition(_CLOSE)
    trace = before.partition(_OPEN)[2].strip()
    if not closed or not trace:
        return True
    _, kept, rest = text.partition(trace)
    return bool(kept) and answer.strip() in rest


def _answered(row: Sequence[Message]) -> list[int]:
    """Places of the assistant's turns that have something of the user's before them."""
    asked = False
    turns = []
    for place, message in enumerate(row):
        asked = asked or message["role"] == "user"
        if asked and message["role"] == "assistant":
            turns.append(place)
    return turns

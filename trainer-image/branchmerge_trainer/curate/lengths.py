"""Drops rows that are too long or too short, in characters or in tokens of the student's tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

from branchmerge.api.data import RowLimits
from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.chat import render_prompt
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.models import model_folder
from branchmerge_trainer.workspace import Workspace

_BATCH = 256
"""Rows whose tokens are counted together, which the tokenizer spreads over the processor's cores."""


@dataclass(frozen=True)
class Refusal:
    """A row that the chat template refuses, such as one with a system message where it knows none."""

    why: str


class CountTokens(Protocol):
    """Counts the tokens of rows."""

    def __call__(self, rows: Sequence[Sequence[Message]]) -> list[int | Refusal]:
        """Tokens of each row that has any."""
        ...


def within_characters(candidates: Iterable[Candidate], most: int, drop: Drop) -> Iterator[Candidate]:
    """Drop rows with more characters than `most` over all messages."""
    for candidate in candidates:
        if candidate.characters <= most:
            yield candidate
        else:
            drop("too long", candidate, f"{candidate.characters:,} characters")


def within_tokens(
    candidates: Iterable[Candidate], limits: RowLimits, count: CountTokens, drop: Drop
) -> Iterator[Candidate]:
    """Drop rows with fewer tokens than `minTokens` or more than `maxTokens`, and those that have no such length.

    A few hundred rows are in memory.
    """
    least, most = limits.min_tokens or 0, limits.max_tokens
    remaining = iter(candidates)
    while batch := list(islice(remaining, _BATCH)):
        for candidate, length in zip(batch, count([each.messages for each in batch]), strict=True):
            if isinstance(length, Refusal):
                drop("refused by the chat template", candidate, length.why)
            elif length < least:
                drop("too few tokens", candidate, f"{length:,} tokens")
            elif most is not None and length > most:
                drop("too many tokens", candidate, f"{length:,} tokens")
            else:
                yield replace(candidate, tokens=length)


def open_counter(student: ModelRef, workspace: Workspace) -> CountTokens:
    """The student's way of counting: its chat template around the question, the answer, and one that ends the turn.

    That is what training makes of a row of one turn, give or take the tokens that open a trace. Of a row of several
    turns, training may make several sequences, each of them shorter.

    Raises InputError where the student has no tokenizer that can be read.
    """
    from transformers import AutoTokenizer

    folder = model_folder(student, workspace, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # libraries raise whatever they trip over
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{student.name}: {folder}: the tokenizer cannot be read ({reason}): copy it again") from None
    return lambda rows: _count(tokenizer, rows)


def _count(tokenizer: Any, rows: Sequence[Sequence[Message]]) -> list[int | Refusal]:
    texts = [_text(tokenizer, row) for row in rows]
    readable = [text for text in texts if isinstance(text, str)]
    encoded = iter(tokenizer(readable, add_special_tokens=False)["input_ids"] if readable else ())
    return [text if isinstance(text, Refusal) else len(next(encoded)) + 1 for text in texts]


def _text(tokenizer: Any, row: Sequence[Message]) -> str | Refusal:
    if tokenizer.chat_template is None:  # training names one, which adds a few tokens a message
        return "\n".join(message["content"] for message in row)
    try:
        return render_prompt(tokenizer, row[:-1]) + row[-1]["content"]
    except InputError as error:
        return Refusal(str(error))

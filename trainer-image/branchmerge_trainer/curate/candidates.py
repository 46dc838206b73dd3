"""What flows through a curation: rows that may be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from branchmerge_trainer.curate.rows import Message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conversation that may become a row of the branch's data."""

    source: int
    """Index of its source in `data.sources`."""
    row: int
    """Its number in the source, from 1."""
    messages: list[Message]
    """Ends with the assistant's answer; of a prompt that the teacher is yet to answer, with the user's question."""
    sample: int = 0
    """Which of the teacher's answers to its prompt; 0 for a row that came complete."""
    tokens: int | None = None
    """By the student's tokenizer, once they were counted."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The row's other columns, such as the reference answer, choices or tests."""

    @property
    def prompt(self) -> tuple[int, int]:
        """Its source and row: what the samples of one prompt have in common."""
        return self.source, self.row

    @property
    def answer(self) -> str:
        """The last message's text, trace included."""
        return self.messages[-1]["content"]

    @property
    def characters(self) -> int:
        """Over all messages."""
        return sum(len(message["content"]) for message in self.messages)


class Drop(Protocol):
    """Counts a candidate that goes no further, with its reason (few words, such as `wrong answer`)."""

    def __call__(self, reason: str, candidate: Candidate, detail: str = "") -> None:
        """`detail` says more of this one candidate, for the examples that are kept of each reason."""
        ...

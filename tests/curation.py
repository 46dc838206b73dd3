"""Candidates of a curation, and what a filter makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.funnel import Filter, Funnel


def candidate(prompt: str, answer: str = "yes", *, source: int = 0, row: int = 1, sample: int = 0) -> Candidate:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Candidate(source, row, messages, sample)


def rows(*answers: str, prompt: str = "why?") -> list[Candidate]:
    """Candidates of one source, numbered from 1."""
    return [candidate(prompt, answer, row=number) for number, answer in enumerate(answers, start=1)]


class Filtered:
    """What passed a filter, and what it dropped; every candidate is accounted for."""

    def __init__(self, candidates: list[Candidate], filter_: Filter[Candidate]) -> None:
        funnel = Funnel()
        self.kept = list(funnel.through("step", candidates, filter_))
        (self.step,) = funnel.steps
        self.step.check()

    @property
    def rows(self) -> list[int]:
        """Numbers of the rows that passed."""
        return [each.row for each in self.kept]

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: dropped.rows for reason, dropped in self.step.dropped.items()}

    def details(self, reason: str) -> Iterator[Any]:
        """Of the first few that were dropped for the reason."""
        return (example.get("detail") for example in self.step.dropped[reason].examples)

"""What is concluded from the facts, in the words that card and page both show."""

from __future__ import annotations

from dataclasses import dataclass

from branchmerge.api.stage import GateResult
from branchmerge_trainer.report.facts import Facts
from branchmerge_trainer.report.gates import judge
from branchmerge_trainer.report.verdict import remarks, verdict


@dataclass(frozen=True)
class Conclusions:
    """What a reader should take away."""

    verdict: str
    """One sentence."""
    remarks: list[str]
    gates: list[GateResult]


def conclude(facts: Facts) -> Conclusions:
    """Pure."""
    return Conclusions(verdict(facts), remarks(facts), judge(facts))

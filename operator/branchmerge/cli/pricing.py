"""What a run would do and cost: which outputs are there, which are not and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from branchmerge.api.stage import StageKind, StageResult
from branchmerge.api.status import StageState
from branchmerge.core.explain import changes
from branchmerge.core.model import Plan, StageDecision
from branchmerge.local.results import Lineage

_SHOWN_CHANGES = 3
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """One stage of the plan."""

    stage: str
    fingerprint: str
    """First eight digits, or nothing while it is not certain."""
    does: str
    """`cached`, `run`, `resume`, `running`, `later`."""
    why: str
    gpus: int
    seconds: float | None
    """Time of its newest output, whatever it was made from; None where there is none."""

    @property
    def costs(self) -> bool:
        """Whether anything is computed."""
        return self.does != "cached"


def estimates(plan: Plan, outputs: Sequence[tuple[StageResult, Lineage]], unfinished: frozenset[str]) -> list[Estimate]:
    """What would happen to each stage.

    `outputs`: every output of the workspace with its lineage, the newest first. `unfinished`: output folders that have
    work to resume.
    """
    newest: dict[str, tuple[StageResult, Lineage]] = {}
    for result, lineage in outputs:
        newest.setdefault(result.stage, (result, lineage))
    return [_estimate(decision, newest.get(decision.stage.name), unfinished) for decision in plan.decisions]


def detectable_gain(questions: int) -> float:
    """The smallest difference of two scores (0-1) whose 95% interval can be clear of zero, at worst.

    Two independent answers to each question, right half of the time: the variance of the difference is 2 x 1/4 a
    question. Models that mostly agree, as a student and what was made from it, need less.
    """
    return _NORMAL_95 * sqrt(0.5 / questions)


def _estimate(
    decision: StageDecision, newest: tuple[StageResult, Lineage] | None, unfinished: frozenset[str]
) -> Estimate:
    stage = decision.stage
    does, why = _what(decision, newest, unfinished)
    seconds = None if newest is None else (newest[0].finished_at - newest[0].started_at).total_seconds()
    gpus = stage.resources.gpus if stage.kind is StageKind.TRAIN else stage.resources.gpus_per_node
    return Estimate(stage.name, (stage.fingerprint or "")[:8], does, why, gpus, seconds)


def _what(
    decision: StageDecision, newest: tuple[StageResult, Lineage] | None, unfinished: frozenset[str]
) -> tuple[str, str]:
    stage = decision.stage
    if decision.result is not None:
        return "cached", ""
    if decision.state in (StageState.RUNNING, StageState.STOPPING):
        return "running", decision.reason
    if stage.ingredients is None:
        return "later", "depends on what earlier stages make" if newest else "new"
    if stage.output in unfinished:
        return "resume", "goes on from its last checkpoint"
    if newest is None:
        return "run", "new"
    differing = changes(newest[1].ingredients, stage.ingredients)
    shown = "; ".join(differing[:_SHOWN_CHANGES])
    more = len(differing) - _SHOWN_CHANGES
    return "run", shown + (f"; and {more} more" if more > 0 else "")

"""Conditions of a job (metav1.Condition): what is true of it now, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import StageKind
from branchmerge.api.status import Condition, ConditionType, StageState
from branchmerge.core.model import AttemptState, JobState, Observation, Plan, StageDecision
from branchmerge.core.naming import listed
from branchmerge.core.patience import progress_due
from branchmerge.core.retry import last_words

MESSAGE_LENGTH = 4096

_MILESTONES = (
    (ConditionType.DATA_READY, StageKind.CURATE),
    (ConditionType.BRANCHES_TRAINED, StageKind.TRAIN),
    (ConditionType.MERGED, StageKind.MERGE),
    (ConditionType.EVALUATED, StageKind.EVALUATE),
)


@dataclass(frozen=True, slots=True)
class _Fact:
    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def conditions(
    job: DistillationJob, plan: Plan, observation: Observation, previous: Sequence[Condition]
) -> list[Condition]:
    """All conditions of a job. A condition keeps its `lastTransitionTime` while its status does."""
    before = {condition.type: condition for condition in previous}
    return [
        _condition(fact, before.get(fact.type), job.metadata.generation, observation.now)
        for fact in _facts(job, plan, observation)
    ]


def refused(
    message: str, generation: int | None, now: datetime, previous: Sequence[Condition]
) -> tuple[Condition, list[Condition]]:
    """(Accepted, all conditions) of a job whose spec cannot be carried out: the other conditions stay as they were."""
    before = {condition.type: condition for condition in previous}
    fact = _Fact(ConditionType.ACCEPTED, "False", "InvalidSpec", message)
    accepted = _condition(fact, before.pop(fact.type, None), generation, now)
    return accepted, [accepted, *before.values()]


def _condition(fact: _Fact, before: Condition | None, generation: int | None, now: datetime) -> Condition:
    unchanged = before is not None and before.status == fact.status
    return Condition(
        type=fact.type,
        status=fact.status,
        reason=fact.reason,
        message=fact.message[:MESSAGE_LENGTH],
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
        observed_generation=generation,
    )


def _facts(job: DistillationJob, plan: Plan, observation: Observation) -> Iterator[_Fact]:
    yield _Fact(ConditionType.ACCEPTED, "True", "Valid", "the spec is valid")
    for condition, kind in _MILESTONES:
        yield _milestone(condition, [decision for decision in plan.decisions if decision.stage.kind is kind])
    yield _gates(job, plan)
    for condition, state in (
        (ConditionType.SUCCEEDED, JobState.SUCCEEDED),
        (ConditionType.FAILED, JobState.FAILED),
        (ConditionType.SUSPENDED, JobState.SUSPENDED),
    ):
        yield _Fact(condition, "True" if plan.state is state else "False", plan.reason, plan.message)
    yield _stalled(plan, observation)


def _milestone(condition: ConditionType, decisions: Sequence[StageDecision]) -> _Fact:
    """Whether all stages of a kind are done."""
    if not decisions:
        return _Fact(condition, "False", "NotRequested", "the spec asks for none of it")
    by_state = {state: [each.stage.name for each in decisions if each.state is state] for state in StageState}
    done = len(by_state[StageState.SUCCEEDED])
    if done == len(decisions):
        return _Fact(condition, "True", "Completed", f"{done} of {done} stages are done")
    for state in (StageState.FAILED, StageState.SKIPPED, StageState.SUSPENDED):
        if by_state[state]:
            return _Fact(condition, "False", f"Stage{state}", f"{state.lower()}: {listed(by_state[state])}")
    begun = len(by_state[StageState.PENDING]) < len(decisions)
    reason = "InProgress" if begun else "Pending"
    return _Fact(condition, "False", reason, f"{done} of {len(decisions)} stages are done")


def _gates(job: DistillationJob, plan: Plan) -> _Fact:
    """Unknown where there is no gate, and until the report has judged."""
    if job.spec.evaluation is None or not job.spec.evaluation.gates:
        return _Fact(ConditionType.GATES_PASSED, "Unknown", "NoGates", "spec.evaluation.gates is empty")
    report = plan.decisions[-1].result
    if report is None:
        return _Fact(ConditionType.GATES_PASSED, "Unknown", "NotJudgedYet", "the report judges")
    missed = [gate for gate in report.gates if not gate.passed]
    told = "; ".join(f"{gate.suite}: {gate.message}" for gate in missed or report.gates)
    if missed:
        return _Fact(ConditionType.GATES_PASSED, "False", "GatesFailed", told)
    return _Fact(ConditionType.GATES_PASSED, "True", "GatesPassed", told)


def _stalled(plan: Plan, observation: Observation) -> _Fact:
    """True where a running job makes no progress now, as kstatus means it. That is one of three things.

    Every active attempt waits for what it needs, a running one has reported nothing for `patience.PROGRESS`, or no
    attempt is active and every stage whose turn it is backs off or cannot start.
    """
    active = [attempt for attempt in observation.attempts if attempt.active]
    starts = any(each.ready and each.stage.name not in observation.obstacles for each in plan.decisions)
    if active and all(attempt.waits for attempt in active) and not starts:
        told = "; ".join(f"{attempt.stage}: {last_words(attempt)}" for attempt in active)
        return _Fact(ConditionType.STALLED, "True", active[0].reason, told)
    silent = [
        decision.stage.name
        for decision in plan.decisions
        for attempt in decision.attempts
        if decision.result is None
        and attempt.state is AttemptState.RUNNING
        and not attempt.waits
        and observation.now >= progress_due(attempt)
    ]
    if silent:
        return _Fact(ConditionType.STALLED, "True", "NoProgress", f"no progress reported: {listed(silent)}")
    waiting = [each for each in plan.decisions if each.ready or each.state is StageState.BACKING_OFF]
    if waiting and not active and not starts:
        told = "; ".join(f"{each.stage.name}: {each.reason}" for each in waiting)
        reason = "CannotStart" if any(each.ready for each in waiting) else "BackingOff"
        return _Fact(ConditionType.STALLED, "True", reason, told)
    return _Fact(ConditionType.STALLED, "False", "NotStalled")

"""How the job as a whole stands, by where its stages stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from branchmerge.api.resource import FailurePolicy, Spec
from branchmerge.api.status import StageState
from branchmerge.core.model import JobState, Observation, StageDecision
from branchmerge.core.naming import listed

ENDED = frozenset({StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED})
"""States of a stage that will not be attempted again as things are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the job stands. Unless it is RUNNING nothing may run, and it holds once nothing does."""

    state: JobState
    reason: str
    message: str


def judge(spec: Spec, decisions: Sequence[StageDecision], observation: Observation) -> Verdict:
    """The job's verdict.

    What is finished stays so, by result or by failure. A suspended job is not subject to its deadline; the deadline
    holds again once it is resumed.
    """
    return (
        _done(decisions)
        or _failed(spec.failure_policy, decisions)
        or _suspended(spec)
        or _late(spec, observation)
        or _running(decisions)
    )


def deadline(spec: Spec, observation: Observation) -> datetime | None:
    """When the job must have ended."""
    if spec.deadline_seconds is None or observation.started_at is None:
        return None
    return observation.started_at + timedelta(seconds=spec.deadline_seconds)


def _done(decisions: Sequence[StageDecision]) -> Verdict | None:
    if any(decision.state is not StageState.SUCCEEDED for decision in decisions):
        return None
    report = decisions[-1].result
    assert report is not None, "the last stage is the report, and it is done"
    missed = [f"{gate.suite}: {gate.message}" for gate in report.gates if not gate.passed]
    if missed:
        return Verdict(JobState.FAILED, "GatesFailed", f"{'; '.join(missed)} (all artifacts are there)")
    return Verdict(JobState.SUCCEEDED, "Completed", report.verdict or f"all {len(decisions)} stages are done")


def _failed(policy: FailurePolicy, decisions: Sequence[StageDecision]) -> Verdict | None:
    failed = [decision for decision in decisions if decision.state is StageState.FAILED]
    goes_on = policy is FailurePolicy.CONTINUE and any(decision.state not in ENDED for decision in decisions)
    if not failed or goes_on:
        return None
    words = "; ".join(f"{decision.stage.name}: {decision.reason}" for decision in failed)
    return Verdict(JobState.FAILED, "StageFailed", words)


def _suspended(spec: Spec) -> Verdict | None:
    return Verdict(JobState.SUSPENDED, "Suspended", "spec.suspend is true") if spec.suspend else None


def _late(spec: Spec, observation: Observation) -> Verdict | None:
    due = deadline(spec, observation)
    if due is None or observation.now < due:
        return None
    return Verdict(JobState.FAILED, "DeadlineExceeded", f"not done after deadlineSeconds: {spec.deadline_seconds}")


def _running(decisions: Sequence[StageDecision]) -> Verdict:
    done = sum(decision.state is StageState.SUCCEEDED for decision in decisions)
    running = [decision.stage.name for decision in decisions if decision.state is StageState.RUNNING]
    now = f"; {listed(running)} running" if running else ""
    return Verdict(JobState.RUNNING, "Running", f"{done} of {len(decisions)} stages are done{now}")

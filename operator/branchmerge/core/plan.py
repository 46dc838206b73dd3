"""Spec, attempts and results at one moment -> what to do now.

Level-triggered: nothing is remembered between two calls, so that a plan after a crash is the plan without it. Actions
come in an order in which carrying out any prefix leaves the rest as the next plan: first stops, then starts, then
discards (a report that starts still sees the accounts of what is discarded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from branchmerge.api.resource import DistillationJob, Spec
from branchmerge.api.stage import ReportTask, StageConfig
from branchmerge.api.status import StageState
from branchmerge.core.accounts import stage_accounts
from branchmerge.core.decide import decide, is_obsolete
from branchmerge.core.model import (
    Action,
    Attempt,
    AttemptState,
    Discard,
    Graph,
    JobState,
    Observation,
    Plan,
    StageDecision,
    Start,
    Stop,
)
from branchmerge.core.patience import exit_due, progress_due
from branchmerge.core.verdict import ENDED, Verdict, deadline, judge

GRACE_SECONDS = 30
"""Time between SIGTERM and SIGKILL of a stage without checkpoints; Kubernetes' default."""


def plan(job: DistillationJob, graph: Graph, observation: Observation) -> Plan:
    """What to do now, and where everything stands once it is done.

    The job is only SUCCEEDED, FAILED or SUSPENDED when no attempt is active.
    """
    natural = decide(job.spec.retry, graph, observation)
    verdict = judge(job.spec, natural, observation)
    stops = tuple(_stops(job.spec, natural, verdict, observation))
    decisions = tuple(_settled(decision, verdict, stops) for decision in natural)
    actions: tuple[Action, ...] = (
        *stops,
        *(_start(job, graph, decision, observation) for decision in decisions if decision.ready),
        *_discards(graph, observation),
    )
    shown = _while_attempts_are_active(verdict, observation)
    wake_at = min(_moments(job.spec, decisions, verdict, observation), default=None)
    return Plan(shown.state, shown.reason, shown.message, decisions, actions, wake_at)


def _stops(
    spec: Spec, decisions: Sequence[StageDecision], verdict: Verdict, observation: Observation
) -> Iterator[Stop]:
    by_stage = {decision.stage.name: decision for decision in decisions}
    for attempt in _ordered(observation.attempts):
        if attempt.state is not AttemptState.RUNNING:
            continue
        reason = _stop_reason(attempt, by_stage.get(attempt.stage), verdict, observation.now)
        if reason is not None:
            yield Stop(attempt, reason, _grace_seconds(spec, attempt.stage))


def _stop_reason(attempt: Attempt, decision: StageDecision | None, verdict: Verdict, now: datetime) -> str | None:
    """Why a running attempt must end, as a CamelCase word; None if it may go on."""
    if decision is None or is_obsolete(attempt, decision.stage):
        return "Obsolete"
    if decision.result is not None:
        return "ResultIsThere" if now >= exit_due(attempt, decision.result) else None
    if verdict.state is not JobState.RUNNING:
        return verdict.reason
    if decision.state is StageState.SKIPPED:
        return "StageFailed"
    newest = [each for each in decision.attempts if each.active][-1]
    return None if attempt == newest else "Superseded"


def _settled(decision: StageDecision, verdict: Verdict, stops: Sequence[Stop]) -> StageDecision:
    """The decision once the job's verdict is known and what must stop was told to."""
    active = [each for each in decision.attempts if each.active]
    if active and decision.result is None:
        reason = next((stop.reason for stop in stops if stop.attempt == active[-1]), None)
        if reason is None and decision.state is not StageState.SKIPPED:
            return decision
        return replace(decision, state=StageState.STOPPING, reason=reason or decision.reason)
    if verdict.state is JobState.RUNNING or decision.state in ENDED:
        return decision
    if verdict.state is JobState.SUSPENDED:
        return replace(decision, state=StageState.SUSPENDED, reason=verdict.message, retry_at=None, ready=False)
    late = f"the job failed before its turn: {verdict.reason}"
    return replace(decision, state=StageState.SKIPPED, reason=late, retry_at=None, ready=False)


def _start(job: DistillationJob, graph: Graph, decision: StageDecision, observation: Observation) -> Start:
    stage = decision.stage
    assert stage.fingerprint is not None, f"{stage.name} starts before what it needs is done"
    assert stage.ingredients is not None
    assert stage.output is not None
    assert stage.task is not None
    task = stage.task
    if isinstance(task, ReportTask):
        task = task.model_copy(update={"accounts": stage_accounts(graph, observation)})
    config = StageConfig(
        job=job.metadata.name,
        stage=stage.name,
        fingerprint=stage.fingerprint,
        attempt=1 + max((each.number for each in decision.attempts), default=0),
        output=stage.output,
        ingredients=dict(stage.ingredients),
        task=task,
    )
    return Start(stage, config)


def _discards(graph: Graph, observation: Observation) -> Iterator[Discard]:
    stages = {stage.name: stage for stage in graph.stages}
    for attempt in _ordered(observation.attempts):
        if not attempt.active and is_obsolete(attempt, stages.get(attempt.stage)):
            yield Discard(attempt)


def _while_attempts_are_active(verdict: Verdict, observation: Observation) -> Verdict:
    """The verdict, held back until every attempt has ended."""
    active = [f"{each.stage} #{each.number}" for each in _ordered(observation.attempts) if each.active]
    if verdict.state is JobState.RUNNING or not active:
        return verdict
    return Verdict(JobState.RUNNING, "AttemptsEnding", f"{verdict.message}; waits for {', '.join(active)} to end")


def _moments(
    spec: Spec, decisions: Sequence[StageDecision], verdict: Verdict, observation: Observation
) -> Iterator[datetime]:
    """When time alone changes the plan or the status."""
    for decision in decisions:
        for attempt in decision.attempts:
            if attempt.state is AttemptState.RUNNING:
                due = progress_due(attempt) if decision.result is None else exit_due(attempt, decision.result)
                if due > observation.now:
                    yield due
        if decision.retry_at is not None:
            yield decision.retry_at
    due_at = deadline(spec, observation)
    if due_at is not None and verdict.state is JobState.RUNNING:
        yield due_at


def _grace_seconds(spec: Spec, stage: str) -> int:
    """Training saves a checkpoint when it is stopped; nothing else has one."""
    for branch in spec.branches:
        if stage == f"train/{branch.name}":
            return spec.training_of(branch).checkpoint.grace_period_seconds
    return GRACE_SECONDS


def _ordered(attempts: Sequence[Attempt]) -> list[Attempt]:
    return sorted(attempts, key=lambda each: (each.stage, each.number, each.fingerprint))

"""Plan and observation -> the status that people read. Nothing decides by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import fmean

from branchmerge.api.evaluation import SuiteRole
from branchmerge.api.resource import MERGED, DistillationJob
from branchmerge.api.stage import Progress, Score, StageKind
from branchmerge.api.status import (
    ChildRef,
    Phase,
    Pin,
    ScoreStatus,
    StageProgress,
    StageState,
    StageStatus,
    Status,
)
from branchmerge.core.accounts import count_of, gpu_hours
from branchmerge.core.conditions import conditions
from branchmerge.core.model import Attempt, FailureClass, JobState, Observation, Plan, StageDecision
from branchmerge.core.verdict import ENDED

WEIGHTS = {
    StageKind.INPUTS: 1,
    StageKind.CURATE: 2,
    StageKind.TRAIN: 20,
    StageKind.MERGE: 3,
    StageKind.EVALUATE: 6,
    StageKind.REPORT: 1,
}
"""What one stage of a kind counts for in the job's progress: about its share of the time of a usual run."""

_REASON_LENGTH = 1024
_EVALUATE = f"{StageKind.EVALUATE}/"

_PHASES = {
    StageKind.INPUTS: Phase.CURATING,
    StageKind.CURATE: Phase.CURATING,
    StageKind.TRAIN: Phase.TRAINING,
    StageKind.MERGE: Phase.MERGING,
    StageKind.EVALUATE: Phase.EVALUATING,
    StageKind.REPORT: Phase.EVALUATING,
}


def job_status(job: DistillationJob, plan: Plan, observation: Observation, previous: Status | None = None) -> Status:
    """The status of a job. `previous` is the one written last; it tells only since when things are as they are."""
    trained = [each for each in plan.decisions if each.stage.kind is StageKind.TRAIN]
    done = sum(each.state is StageState.SUCCEEDED for each in trained)
    return Status(
        observed_generation=job.metadata.generation,
        phase=_phase(plan, observation),
        progress=f"{percent_done(plan)}%",
        branches=f"{done}/{len(trained)}",
        score=_score(job, plan),
        gpu_hours=_hours(observation.attempts, observation.now),
        start_time=observation.started_at,
        completion_time=_completion_time(plan, observation, previous),
        conditions=conditions(job, plan, observation, previous.conditions if previous else ()),
        pins=[Pin(name=name, digest=digest) for name, digest in sorted((observation.pins or {}).items())],
        stages=[_stage(decision, observation.now) for decision in plan.decisions],
        scores=_scores(plan),
    )


def percent_done(plan: Plan) -> int:
    """Share of the work that is done (0-100), each stage weighted by its kind; 100 only when all of it is."""
    total = sum(WEIGHTS[each.stage.kind] for each in plan.decisions)
    done = sum(WEIGHTS[each.stage.kind] * _share(each) for each in plan.decisions)
    return int(100 * done / total)


def _share(decision: StageDecision) -> float:
    """Share of a stage that is done (0-1), by the last progress of its newest attempt that reported any."""
    if decision.state is StageState.SUCCEEDED:
        return 1.0
    reports = [each.progress for each in decision.attempts if each.progress and each.progress.steps]
    if not reports:
        return 0.0
    return min((reports[-1].step or 0) / (reports[-1].steps or 1), 0.99)


def _phase(plan: Plan, observation: Observation) -> Phase:
    """The first kind of work that is not all done; Pending before anything has begun."""
    ended = {
        JobState.SUCCEEDED: Phase.SUCCEEDED,
        JobState.FAILED: Phase.FAILED,
        JobState.SUSPENDED: Phase.SUSPENDED,
    }
    if plan.state in ended:
        return ended[plan.state]
    unfinished = [each for each in plan.decisions if each.state is not StageState.SUCCEEDED]
    if not observation.attempts and len(unfinished) == len(plan.decisions):
        return Phase.PENDING
    return min((_PHASES[each.stage.kind] for each in unfinished), key=list(Phase).index, default=Phase.EVALUATING)


def _completion_time(plan: Plan, observation: Observation, previous: Status | None) -> datetime | None:
    if plan.state not in (JobState.SUCCEEDED, JobState.FAILED):
        return None
    return (previous.completion_time if previous else None) or observation.now


def _score(job: DistillationJob, plan: Plan) -> str | None:
    """Mean over the Test suites of the merged model's scores (each suite's first metric)."""
    suites = job.spec.evaluation.suites if job.spec.evaluation else []
    tests = {suite.name for suite in suites if suite.role is SuiteRole.TEST}
    first: dict[str, float] = {}
    for model, score in _all_scores(plan):
        if model == MERGED and score.suite in tests:
            first.setdefault(score.suite, score.value)
    return _figure(fmean(first.values())) if first else None


def _scores(plan: Plan) -> list[ScoreStatus]:
    return [
        ScoreStatus(
            model=model,
            suite=score.suite,
            metric=score.metric,
            value=_figure(score.value),
            ci95=[_figure(bound) for bound in score.ci95],
        )
        for model, score in _all_scores(plan)
    ]


def _all_scores(plan: Plan) -> list[tuple[str, Score]]:
    """(model, score) of all evaluations that are done."""
    return [
        (each.stage.name.removeprefix(_EVALUATE), score)
        for each in plan.decisions
        if each.stage.kind is StageKind.EVALUATE and each.result is not None
        for score in each.result.scores
    ]


def _stage(decision: StageDecision, now: datetime) -> StageStatus:
    attempts, result = decision.attempts, decision.result
    newest = attempts[-1] if attempts else None
    began = attempts[0].started_at if attempts else result and result.started_at
    ended = newest.ended_at if newest else result and result.finished_at
    return StageStatus(
        name=decision.stage.name,
        state=decision.state,
        fingerprint=decision.stage.fingerprint,
        reason=decision.reason[:_REASON_LENGTH],
        attempts=newest.number if newest else 0,
        failures=count_of(attempts, FailureClass.FAILURE),
        disruptions=count_of(attempts, FailureClass.DISRUPTION),
        child=ChildRef(kind=newest.child_kind, name=newest.child_name) if newest and newest.child_name else None,
        start_time=began,
        completion_time=ended if decision.state in ENDED else None,
        gpu_hours=_hours(attempts, now) if attempts else None,
        progress=_progress(newest),
        digest=result.digest if result else None,
    )


def _progress(newest: Attempt | None) -> StageProgress | None:
    progress = newest.progress if newest else None
    if newest is None or progress is None:
        return None
    return StageProgress(
        step=progress.step,
        steps=progress.steps,
        loss=None if progress.loss is None else _figure(progress.loss),
        tokens_per_second=None if progress.tokens_per_second is None else f"{progress.tokens_per_second:.0f}",
        eta=_eta(progress) if newest.active else None,
    )


def _eta(progress: Progress) -> datetime | None:
    if progress.updated_at is None or progress.eta_seconds is None:
        return None
    return progress.updated_at + timedelta(seconds=round(progress.eta_seconds))


def _hours(attempts: Sequence[Attempt], now: datetime) -> str:
    return f"{gpu_hours(attempts, now):.1f}"


def _figure(value: float) -> str:
    return f"{value:.3f}"

"""Where each stage stands, as if the job simply goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from branchmerge.api.resource import Retry
from branchmerge.api.status import StageState
from branchmerge.core.model import Attempt, AttemptState, Graph, Observation, Stage, StageDecision
from branchmerge.core.naming import listed
from branchmerge.core.retry import last_words, standing


def decide(retry: Retry, graph: Graph, observation: Observation) -> tuple[StageDecision, ...]:
    """A decision for each stage, in the graph's order. A result makes its stage SUCCEEDED whatever the attempts say."""
    attempts: dict[str, list[Attempt]] = {stage.name: [] for stage in graph.stages}
    for attempt in sorted(observation.attempts, key=lambda each: (each.number, each.fingerprint)):
        attempts.setdefault(attempt.stage, []).append(attempt)
    decisions: dict[str, StageDecision] = {}
    for stage in graph.stages:
        decisions[stage.name] = _decide(stage, attempts[stage.name], decisions, retry, observation)
    return tuple(decisions.values())


def is_obsolete(attempt: Attempt, stage: Stage | None) -> bool:
    """Whether an attempt works on what the job no longer asks for; `stage` is the one of its name.

    While a stage's fingerprint is not certain its attempts go on: a curation that runs again may end in equal rows.
    """
    return stage is None or (stage.fingerprint is not None and stage.fingerprint != attempt.fingerprint)


def _decide(
    stage: Stage,
    attempts: Sequence[Attempt],
    decisions: Mapping[str, StageDecision],
    retry: Retry,
    observation: Observation,
) -> StageDecision:
    own = tuple(each for each in attempts if each.active or stage.fingerprint is not None)
    own = tuple(each for each in own if not is_obsolete(each, stage))
    result = None if stage.key is None else observation.results.get(stage.key)
    if result is not None:
        return StageDecision(stage, StageState.SUCCEEDED, "done", own, result)
    lost = [need for need in stage.needs if decisions[need].state in (StageState.FAILED, StageState.SKIPPED)]
    if lost:
        return StageDecision(stage, StageState.SKIPPED, f"needs {listed(lost)}, which cannot be had", own)
    active = [each for each in own if each.active]
    if active:
        return StageDecision(stage, *_working(active[-1]), own)
    stands = standing(own, retry, observation.now, observation.forgiven_before)
    if stands.given_up is not None:
        return StageDecision(stage, StageState.FAILED, stands.given_up, own)
    if stands.retry_at is not None:
        reason = f"attempt {own[-1].number}: {last_words(own[-1])}; next attempt at {stands.retry_at:%H:%M:%S %Z}"
        return StageDecision(stage, StageState.BACKING_OFF, reason, own, retry_at=stands.retry_at)
    waits_for = _waits_for(stage, attempts, decisions)
    reason = waits_for or observation.obstacles.get(stage.name, "ready to start")
    return StageDecision(stage, StageState.PENDING, reason, own, ready=waits_for is None)


def _working(attempt: Attempt) -> tuple[StageState, str]:
    if attempt.state is AttemptState.STOPPING:
        return StageState.STOPPING, f"attempt {attempt.number} was told to stop"
    if attempt.waits:
        return StageState.RUNNING, f"attempt {attempt.number} waits: {last_words(attempt)}"
    return StageState.RUNNING, f"attempt {attempt.number} runs"


def _waits_for(stage: Stage, attempts: Sequence[Attempt], decisions: Mapping[str, StageDecision]) -> str | None:
    waiting = [need for need in stage.needs if decisions[need].state is not StageState.SUCCEEDED]
    if waiting:
        return f"waits for {listed(waiting)}"
    if any(each.active for each in attempts):
        return "waits for an attempt on an earlier spec to end"
    return None

"""Raw children and their pods -> attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from branchmerge.api.stage import ExitCode, Outcome, Progress, StageResult
from branchmerge.core.model import Attempt, AttemptState, FailureClass, StageKey
from branchmerge.kube.labels import (
    ATTEMPT_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    GPUS_ANNOTATION,
    OUTCOME_ANNOTATION,
    STAGE_ANNOTATION,
    STOPPED_ANNOTATION,
)

Raw = Mapping[str, Any]

_SIGKILL_EXIT = 137
_INTERRUPTED_EXITS = frozenset({ExitCode.INTERRUPTED, 130})
_LOST_MARGIN = timedelta(seconds=10)
"""A pod that is still there so long after its grace period is on a node that no longer answers."""


def attempt_of(child: Raw, pods: Sequence[Raw], progress: Progress | None, now: datetime) -> Attempt:
    """The attempt that `child` executes. `pods` are its own; `progress` is what it reported last."""
    metadata = child["metadata"]
    annotations = metadata.get("annotations", {})
    outcome = outcome_of(child, pods)
    state = _state(child, pods, now)
    failure, reason, message = None, "", ""
    if state is AttemptState.FAILED:
        failure, reason, message = _failure(child, pods, outcome)
    return Attempt(
        stage=annotations[STAGE_ANNOTATION],
        fingerprint=annotations[FINGERPRINT_ANNOTATION],
        number=int(annotations[ATTEMPT_ANNOTATION]),
        state=state,
        started_at=_time(metadata["creationTimestamp"]),
        ended_at=_ended_at(child, pods, now) if state in (AttemptState.SUCCEEDED, AttemptState.FAILED) else None,
        failure=failure,
        reason=reason,
        message=message,
        gpus=int(annotations.get(GPUS_ANNOTATION, "0")),
        child_kind=child["kind"],
        child_name=metadata["name"],
        progress=progress,
    )


def results_of(children: Iterable[tuple[Raw, Sequence[Raw]]]) -> dict[StageKey, StageResult]:
    """The results that children with these pods brought, by stage and fingerprint."""
    results: dict[StageKey, StageResult] = {}
    for child, pods in children:
        outcome = outcome_of(child, pods)
        if outcome is not None and outcome.result is not None:
            results[outcome.result.stage, outcome.result.fingerprint] = outcome.result
    return results


def outcome_of(child: Raw, pods: Sequence[Raw]) -> Outcome | None:
    """How the attempt ended: from the child's annotation, else from the termination message that says most."""
    recorded = child["metadata"].get("annotations", {}).get(OUTCOME_ANNOTATION)
    if recorded:
        return _parsed(recorded)
    outcomes = [outcome for pod in pods if (outcome := _parsed(_terminated(pod).get("message", ""))) is not None]
    with_result = [outcome for outcome in outcomes if outcome.result is not None]
    failed = [outcome for outcome in outcomes if outcome.exit_code not in _INTERRUPTED_EXITS | {ExitCode.DONE}]
    ranked = [*with_result, *failed, *outcomes]
    return ranked[0] if ranked else None


def _state(child: Raw, pods: Sequence[Raw], now: datetime) -> AttemptState:
    if _condition(child, "Succeeded", "Complete"):
        return AttemptState.SUCCEEDED
    if _condition(child, "Failed") or _lost(pods, now):
        return AttemptState.FAILED
    if child["metadata"].get("deletionTimestamp"):
        return AttemptState.STOPPING
    if STOPPED_ANNOTATION not in child["metadata"].get("annotations", {}):
        return AttemptState.RUNNING
    ended = _condition(child, "Suspended") and not any(_holds_resources(pod) for pod in pods)
    return AttemptState.FAILED if ended else AttemptState.STOPPING


def _holds_resources(pod: Raw) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _failure(child: Raw, pods: Sequence[Raw], outcome: Outcome | None) -> tuple[FailureClass, str, str]:
    """Class, reason and message. What we stopped spends nothing, what came from outside is a disruption."""
    stopped = child["metadata"].get("annotations", {}).get(STOPPED_ANNOTATION)
    if stopped:
        return FailureClass.STOPPED, "Stopped", stopped
    for pod in pods:
        disruption = _condition(pod, "DisruptionTarget")
        if disruption:
            return FailureClass.DISRUPTION, disruption.get("reason", "Disrupted"), disruption.get("message", "")
    terminated = [state for pod in pods if (state := _terminated(pod)).get("exitCode")]
    if outcome is not None and outcome.exit_code == ExitCode.INPUT:
        return FailureClass.PERMANENT, outcome.reason, outcome.message
    for state in terminated:
        if state.get("reason") == "OOMKilled":
            return (
                FailureClass.FAILURE,
                "OOMKilled",
                "a container used more memory than its limit: raise resources.memory",
            )
    if not terminated:
        return FailureClass.DISRUPTION, "PodsLost", "its pods are gone without a word"
    if outcome is not None and outcome.exit_code not in _INTERRUPTED_EXITS:
        return FailureClass.FAILURE, outcome.reason, outcome.message
    codes = {state["exitCode"] for state in terminated}
    if codes <= _INTERRUPTED_EXITS | {_SIGKILL_EXIT}:
        return FailureClass.DISRUPTION, "Terminated", "its pods were told to end from outside"
    return FailureClass.FAILURE, "ContainerFailed", f"exit code {min(codes - _INTERRUPTED_EXITS)}"


def _lost(pods: Sequence[Raw], now: datetime) -> bool:
    """Whether a pod still claims to run long after it had to end: its node no longer answers."""
    for pod in pods:
        deleted_at = pod["metadata"].get("deletionTimestamp")
        if deleted_at and pod.get("status", {}).get("phase") == "Running" and now > _time(deleted_at) + _LOST_MARGIN:
            return True
    return False


def _ended_at(child: Raw, pods: Sequence[Raw], now: datetime) -> datetime:
    times = [_time(text) for pod in pods if (text := _terminated(pod).get("finishedAt"))]
    if times:
        return max(times)
    condition = _condition(child, "Succeeded", "Complete", "Failed")
    return _time(condition["lastTransitionTime"]) if condition else now


def _condition(thing: Raw, *types: str) -> Raw | None:
    """The condition of one of these types that is true. Never by position: their order means nothing."""
    for condition in thing.get("status", {}).get("conditions") or []:
        if condition["type"] in types and condition["status"] == "True":
            found: Raw = condition
            return found
    return None


def _terminated(pod: Raw) -> Raw:
    """The terminated state of the stage's container, or an empty one while it runs."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        state: Raw | None = status.get("state", {}).get("terminated")
        if state:
            return state
    return {}


def _parsed(message: str) -> Outcome | None:
    if not message:
        return None
    try:
        return Outcome.model_validate_json(message)
    except ValidationError:
        return None  # a container that died before the launcher could write leaves the kubelet's own words


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

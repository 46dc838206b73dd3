"""Raw children and their pods -> attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import ValidationError

from branchmerge.api.base import RecordModel
from branchmerge.api.stage import ExitCode, Outcome, Progress, StageResult
from branchmerge.core.model import Attempt, AttemptState, FailureClass, StageKey
from branchmerge.kube.labels import (
    ALLOCATED_ANNOTATION,
    ATTEMPT_ANNOTATION,
    DISRUPTED_ANNOTATION,
    FAILURE_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    FIRST_STEP_ANNOTATION,
    GPUS_ANNOTATION,
    OUTCOME_ANNOTATION,
    STAGE_ANNOTATION,
    STOPPED_ANNOTATION,
)
from branchmerge.kube.raw import Raw, condition_of, is_suspended, moment
from branchmerge.kube.waiting import waiting_of

_SIGKILL_EXIT = 137
_INTERRUPTED_EXITS = frozenset({ExitCode.INTERRUPTED, 130})
_LOST_MARGIN = timedelta(seconds=10)
"""A pod that is still there so long after its grace period is on a node that no longer answers."""
_SUCCESS = ("Succeeded", "Complete")
_TOLD = frozenset({STOPPED_ANNOTATION, DISRUPTED_ANNOTATION})
_PHASES_OF_THE_ENDED = frozenset({"Succeeded", "Failed"})


class Failure(RecordModel):
    """How an attempt failed."""

    at: datetime
    failure: FailureClass
    reason: str
    message: str


def is_attempt(child: Raw) -> bool:
    """Whether it executes an attempt; a clean-up, for one, does not."""
    return STAGE_ANNOTATION in _annotations(child)


def attempt_of(
    child: Raw, pods: Sequence[Raw], progress: Progress | None, now: datetime, warnings: Sequence[Raw] = ()
) -> Attempt:
    """The attempt that `child` executes.

    Args:
        child: a Job or PyTorchJob.
        pods: its own.
        progress: what it reported last.
        now: the time.
        warnings: events of a child that should have pods and has none.
    """
    metadata, annotations = child["metadata"], _annotations(child)
    state = _state(child, pods, now)
    failure = failure_of(child, pods, now) if state is AttemptState.FAILED else None
    waiting = waiting_of(child, pods, warnings) if state is AttemptState.RUNNING else None
    ended_at = failure.at if failure else _ended_at(child, pods, now) if state is AttemptState.SUCCEEDED else None
    first_step_at = annotations.get(FIRST_STEP_ANNOTATION)
    return Attempt(
        stage=annotations[STAGE_ANNOTATION],
        fingerprint=annotations[FINGERPRINT_ANNOTATION],
        number=int(annotations[ATTEMPT_ANNOTATION]),
        state=state,
        started_at=moment(metadata["creationTimestamp"]),
        ended_at=ended_at,
        allocated_at=_allocated_at(child, pods) or ended_at or now,
        first_step_at=moment(first_step_at) if first_step_at else None,
        failure=failure.failure if failure else None,
        reason=failure.reason if failure else waiting.reason if waiting else "",
        message=failure.message if failure else waiting.message if waiting else "",
        gpus=int(annotations.get(GPUS_ANNOTATION, "0")),
        child_kind=child["kind"],
        child_name=metadata["name"],
        progress=progress,
    )


def marks_of(child: Raw, pods: Sequence[Raw], progress: Progress | None, now: datetime) -> dict[str, str]:
    """Annotations that the child is to get: what is seen now and may not be seen later, because pods go."""
    annotations = _annotations(child)
    allocated_at = _allocated_at(child, pods)
    marks = {ALLOCATED_ANNOTATION: allocated_at.isoformat()} if allocated_at else {}
    if progress is not None and progress.step and progress.updated_at:
        marks[FIRST_STEP_ANNOTATION] = progress.updated_at.isoformat()
    marks = {name: text for name, text in marks.items() if name not in annotations}
    outcome = outcome_of(child, pods)
    if outcome is not None and _is_final(outcome) and OUTCOME_ANNOTATION not in annotations:
        marks[OUTCOME_ANNOTATION] = outcome.to_json()
    if not has_ended(child) and not annotations.keys() & _TOLD:
        disruption = _disruption(pods, now) or _removal(child, pods)
        if disruption is not None:
            marks[DISRUPTED_ANNOTATION] = disruption
    seen = marked(child, marks)
    if FAILURE_ANNOTATION not in annotations and _state(seen, pods, now) is AttemptState.FAILED:
        marks[FAILURE_ANNOTATION] = failure_of(seen, pods, now).to_json()
    return marks


def marked(child: Raw, marks: Mapping[str, str]) -> Raw:
    """The child with more annotations."""
    metadata = {**child["metadata"], "annotations": {**_annotations(child), **marks}}
    return {**child, "metadata": metadata}


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
    recorded = _annotations(child).get(OUTCOME_ANNOTATION)
    if recorded:
        return _parsed(recorded)
    outcomes = [outcome for pod in pods if (outcome := _parsed(_terminated(pod).get("message", ""))) is not None]
    with_result = [outcome for outcome in outcomes if outcome.result is not None]
    failed = [outcome for outcome in outcomes if outcome.exit_code not in _INTERRUPTED_EXITS | {ExitCode.DONE}]
    ranked = [*with_result, *failed, *outcomes]
    return ranked[0] if ranked else None


def _is_final(outcome: Outcome) -> bool:
    """Whether an outcome is the last word of its attempt.

    A node that is done before the first one has no result, and what was interrupted goes on with other pods where a
    queue had suspended its child.
    """
    return outcome.result is not None or outcome.exit_code not in _INTERRUPTED_EXITS | {ExitCode.DONE}


def _state(child: Raw, pods: Sequence[Raw], now: datetime) -> AttemptState:
    annotations = _annotations(child)
    if condition_of(child, *_SUCCESS):
        return AttemptState.SUCCEEDED
    if FAILURE_ANNOTATION in annotations:
        return AttemptState.FAILED
    told, failed = annotations.keys() & _TOLD, condition_of(child, "Failed")
    if not failed and not told and not child["metadata"].get("deletionTimestamp"):
        return AttemptState.RUNNING
    lost = [is_lost(pod, now) for pod in pods]
    over = failed or (told and (any(lost) or condition_of(child, "Suspended")))
    # The rest of a gang that failed saves its checkpoint while it is told to end: until then nobody else may write.
    holds = any(holds_resources(pod) and not gone for pod, gone in zip(pods, lost, strict=True))
    return AttemptState.FAILED if over and not holds else AttemptState.STOPPING


def _allocated_at(child: Raw, pods: Sequence[Raw]) -> datetime | None:
    """When its first pod came to a node; None before one has."""
    if (recorded := _annotations(child).get(ALLOCATED_ANNOTATION)) is not None:
        return moment(recorded)
    return min((moment(text) for pod in pods if (text := pod.get("status", {}).get("startTime"))), default=None)


def holds_resources(pod: Raw) -> bool:
    """Whether a pod has not ended."""
    return pod.get("status", {}).get("phase") not in _PHASES_OF_THE_ENDED


def is_lost(pod: Raw, now: datetime) -> bool:
    """Whether a pod is there long after it had to end: its node no longer answers."""
    deleted_at = pod["metadata"].get("deletionTimestamp")  # its grace period is counted in
    return bool(deleted_at) and holds_resources(pod) and now > moment(deleted_at) + _LOST_MARGIN


def lost_at(pods: Iterable[Raw]) -> list[datetime]:
    """When each pod that was told to end and has not counts as lost."""
    told = [pod["metadata"].get("deletionTimestamp") for pod in pods if holds_resources(pod)]
    return [moment(text) + _LOST_MARGIN for text in told if text]


def has_ended(child: Raw) -> bool:
    """Whether its controller says that it has succeeded or failed."""
    return condition_of(child, *_SUCCESS, "Failed") is not None


def lacks_outcome(child: Raw, pods: Sequence[Raw]) -> bool:
    """Whether it has succeeded, and nothing known tells with what result."""
    return condition_of(child, *_SUCCESS) is not None and outcome_of(child, pods) is None


def _disruption(pods: Sequence[Raw], now: datetime) -> str | None:
    """What took a pod away from outside, as `Reason: message`."""
    for pod in pods:
        condition = condition_of(pod, "DisruptionTarget")
        if condition is not None:
            return f"{condition.get('reason', 'Disrupted')}: {condition.get('message', '')}"
    for pod in pods:
        if is_lost(pod, now):
            return f"NodeLost: node {pod.get('spec', {}).get('nodeName', '')} no longer answers"
    return None


def _removal(child: Raw, pods: Sequence[Raw]) -> str | None:
    """What is amiss where somebody deletes a pod of a child that is to have pods, as `Reason: message`.

    A gang cannot go on without it, and its controller would only put a pod without memory in its place.
    """
    if is_suspended(child) or child["metadata"].get("deletionTimestamp"):
        return None
    working = [pod["metadata"] for pod in pods if holds_resources(pod)]  # one that has ended may be of before a pause
    removed = [metadata["name"] for metadata in working if metadata.get("deletionTimestamp")]
    return f"PodDeleted: somebody deleted {', '.join(removed)}" if removed else None


def failure_of(child: Raw, pods: Sequence[Raw], now: datetime) -> Failure:
    """How a failed attempt ended: as it was recorded, else by what its pods say."""
    recorded = _annotations(child).get(FAILURE_ANNOTATION)
    if recorded:
        return Failure.model_validate_json(recorded)
    failure, reason, message = _verdict(child, pods, now)
    return Failure(at=_ended_at(child, pods, now), failure=failure, reason=reason, message=message)


def _verdict(child: Raw, pods: Sequence[Raw], now: datetime) -> tuple[FailureClass, str, str]:
    """Class, reason and message. What we stopped spends nothing, what came from outside is a disruption."""
    annotations, outcome = _annotations(child), outcome_of(child, pods)
    if stopped := annotations.get(STOPPED_ANNOTATION):
        return FailureClass.STOPPED, "Stopped", stopped
    if outcome is not None and outcome.exit_code == ExitCode.INPUT:
        return FailureClass.PERMANENT, outcome.reason, outcome.message
    if disruption := annotations.get(DISRUPTED_ANNOTATION) or _disruption(pods, now):
        reason, _, message = disruption.partition(": ")
        return FailureClass.DISRUPTION, reason, message
    terminated = [state for pod in pods if (state := _terminated(pod)).get("exitCode")]
    if any(state.get("reason") == "OOMKilled" for state in terminated):
        advice = "a container used more memory than its limit: raise resources.memory"
        return FailureClass.FAILURE, "OOMKilled", advice
    if not terminated:
        return FailureClass.DISRUPTION, "PodsLost", "its pods are gone without a word"
    if outcome is not None and outcome.exit_code not in _INTERRUPTED_EXITS:
        return FailureClass.FAILURE, outcome.reason, outcome.message
    codes = {state["exitCode"] for state in terminated}
    if codes <= _INTERRUPTED_EXITS | {_SIGKILL_EXIT}:
        return FailureClass.DISRUPTION, "Terminated", "its pods were told to end from outside"
    return FailureClass.FAILURE, "ContainerFailed", f"exit code {min(codes - _INTERRUPTED_EXITS)}"


def _ended_at(child: Raw, pods: Sequence[Raw], now: datetime) -> datetime:
    times = [moment(text) for pod in pods if (text := _terminated(pod).get("finishedAt"))]
    if times:
        return max(times)
    condition = condition_of(child, *_SUCCESS, "Failed")
    return moment(condition["lastTransitionTime"]) if condition else now


def _annotations(child: Raw) -> Mapping[str, str]:
    found: Mapping[str, str] = child["metadata"].get("annotations", {})
    return found


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

"""What a status write made true, as events of the job. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.resource import API_VERSION, KIND, Metadata
from branchmerge.api.status import ConditionType, StageState, StageStatus, Status

CONTROLLER = "branchmerge.dev/operator"
_NOTE_BYTES = 1024
_WARNINGS = frozenset({ConditionType.FAILED, ConditionType.STALLED})
_TOLD_STATES = {
    StageState.RUNNING: ("Normal", "StageStarted"),
    StageState.SUCCEEDED: ("Normal", "StageSucceeded"),
    StageState.BACKING_OFF: ("Warning", "StageBackingOff"),
    StageState.FAILED: ("Warning", "StageFailed"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that became true."""

    type: str
    """`Normal` or `Warning`."""
    reason: str
    note: str


def transitions(before: Status | None, after: Status) -> list[Event]:
    """One event for each condition and each stage that changed."""
    return [*_conditions(before, after), *_stages(before, after)]


def manifest(event: Event, job: Metadata, instance: str, number: int) -> dict[str, Any]:
    """The `events.k8s.io/v1` object. `number` tells events of one moment apart."""
    now = datetime.now(UTC)
    return {
        "metadata": {
            "name": f"{job.name}.{int(now.timestamp() * 1e6):x}{number:x}",
            "namespace": job.namespace,
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": event.type,
        "reason": event.reason,
        "note": event.note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
        "action": "Reconcile",
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": job.name,
            "namespace": job.namespace,
            "uid": job.uid,
        },
    }


def _conditions(before: Status | None, after: Status) -> Iterator[Event]:
    was = {condition.type: condition.status for condition in before.conditions} if before else {}
    for condition in after.conditions:
        if condition.status == was.get(condition.type, "Unknown" if condition.status == "Unknown" else "False"):
            continue
        refused = condition.type == ConditionType.ACCEPTED and condition.status == "False"
        if condition.status == "True" or refused:
            bad = refused or condition.type in _WARNINGS
            note = f"{condition.type}: {condition.message}" if condition.message else condition.type
            yield Event("Warning" if bad else "Normal", condition.reason, note)


def _stages(before: Status | None, after: Status) -> Iterator[Event]:
    was = {stage.name: stage for stage in before.stages} if before else {}
    for stage in after.stages:
        earlier = was.get(stage.name)
        if stage.state in _TOLD_STATES and _moved(earlier, stage):
            kind, reason = _TOLD_STATES[stage.state]
            yield Event(kind, reason, f"{stage.name}: {stage.reason or stage.state}")


def _moved(before: StageStatus | None, after: StageStatus) -> bool:
    return before is None or (before.state, before.attempts) != (after.state, after.attempts)

"""Why an attempt was started and does not work yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from branchmerge.kube.waiting import Waiting, lacks_pods, waiting_of
from builders import EPOCH, at

Raw = dict[str, Any]


def stamp(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat()


def child(**spec: Any) -> Raw:
    return {"metadata": {"name": "tiny-train-math-ffffffff-1", "creationTimestamp": stamp(0)}, "spec": spec}


def pod(container: Raw | None = None, unscheduled: Raw | None = None, name: str = "pod") -> Raw:
    status: Raw = {"phase": "Pending"}
    if unscheduled is not None:
        status["conditions"] = [{"type": "PodScheduled", "status": "False", **unscheduled}]
    if container is not None:
        status["containerStatuses"] = [{"name": "stage", "state": container}]
    return {"metadata": {"name": name}, "status": status}


def warning(reason: str, seconds: float, note: str, **fields: Any) -> Raw:
    metadata = {"creationTimestamp": stamp(0)}
    return {"metadata": metadata, "reason": reason, "note": note, "deprecatedLastTimestamp": stamp(seconds), **fields}


RUNNING = {"running": {"startedAt": stamp(1)}}
NO_ROOM = {"reason": "Unschedulable", "message": "0/3 nodes are available: 2 Insufficient nvidia.com/gpu"}
NO_IMAGE = {"waiting": {"reason": "ErrImageNeverPull", "message": 'image "trainer:1" is not there'}}
NO_SECRET = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "teacher" not found'}}
NO_QUOTA = warning("FailedCreatePod", 9, "exceeded quota")

CASES: dict[str, tuple[Raw, list[Raw], list[Raw], Waiting | None]] = {
    "just created": (child(), [], [], None),
    "its pods run": (child(), [pod(RUNNING)], [], None),
    "its containers are being made": (child(), [pod({"waiting": {"reason": "ContainerCreating"}})], [], None),
    "no node has room for its second pod": (
        child(), [pod(RUNNING), pod(unscheduled=NO_ROOM, name="b")], [],
        Waiting("Unschedulable", f"pod b: {NO_ROOM['message']}")),
    "a gate holds its pod back": (
        child(), [pod(unscheduled={"reason": "SchedulingGated"})], [], Waiting("SchedulingGated", "pod pod: ")),
    "its image is not there": (
        child(), [pod(NO_IMAGE)], [], Waiting("ErrImageNeverPull", 'pod pod: image "trainer:1" is not there')),
    "the Secret with a teacher's key is not there": (
        child(), [pod(NO_SECRET)], [],
        Waiting("CreateContainerConfigError", 'pod pod: secret "teacher" not found')),
    "a queue holds back a PyTorchJob": (
        child(runPolicy={"suspend": True}), [], [],
        Waiting("Queued", "its child is suspended: a queue holds it back, or somebody has suspended it")),
    "a queue holds back a Job": (
        child(suspend=True), [], [],
        Waiting("Queued", "its child is suspended: a queue holds it back, or somebody has suspended it")),
    "its controller may not create pods, by its newest event": (
        child(), [], [NO_QUOTA, warning("FailedCreateService", 3, "earlier")],
        Waiting("FailedCreatePod", "exceeded quota")),
    "an event of a series counts by its last time": (
        child(), [], [NO_QUOTA, warning("FailedCreate", 1, "again", series={"lastObservedTime": stamp(50)})],
        Waiting("FailedCreate", "again")),
    "its controller warns of something else later": (
        child(), [], [NO_QUOTA, warning("SetPodTemplateRestartPolicy", 30, "overwritten")],
        Waiting("FailedCreatePod", "exceeded quota")),
    "it has pods by now": (child(), [pod(RUNNING)], [NO_QUOTA], None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_an_attempt_waits_for(case: str) -> None:
    raw, pods, warnings, waiting = CASES[case]
    assert waiting_of(raw, pods, warnings) == waiting


def test_events_are_asked_for_where_pods_are_overdue() -> None:
    assert lacks_pods(child(), [], at(6))
    assert not lacks_pods(child(), [], at(4)), "its controller has just begun"
    assert not lacks_pods(child(), [pod()], at(6))
    assert not lacks_pods(child(suspend=True), [], at(6)), "it is to have none"

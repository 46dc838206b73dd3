"""Why an attempt was started and does not work yet, as its child, its pods and their controller's events tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from branchmerge.kube.raw import Raw, is_suspended, moment

CREATES_PODS = timedelta(seconds=5)
"""A child that has no pod after so long has a controller that cannot create any, or none at all."""

_CANNOT_CREATE = "FailedCreate"
"""How the reasons begin of events that say why there is no pod; the training operator warns of other things too."""

_ON_THE_WAY = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of containers that wait for nothing but their turn."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an attempt waits for."""

    reason: str
    """A CamelCase word, Kubernetes' own where it has one."""
    message: str


def waiting_of(child: Raw, pods: Sequence[Raw], warnings: Sequence[Raw]) -> Waiting | None:
    """What an attempt waits for whose child was neither stopped nor has ended; None where it works or soon will.

    `warnings` are the events of a child without pods; see `lacks_pods`.
    """
    if is_suspended(child):
        return Waiting("Queued", "its child is suspended: a queue holds it back, or somebody has suspended it")
    told = [waiting for pod in pods for waiting in _reasons(pod)]
    if told:
        return told[0]
    failed = [_told(event) for event in warnings if event["reason"].startswith(_CANNOT_CREATE)]
    return max(failed, key=lambda each: each[0])[1] if failed and not pods else None


def lacks_pods(child: Raw, pods: Sequence[Raw], now: datetime) -> bool:
    """Whether events must tell why a child that should have pods has none."""
    return not pods and not is_suspended(child) and now >= pods_due(child)


def pods_due(child: Raw) -> datetime:
    """When a child's controller has had the time to create its pods."""
    return moment(child["metadata"]["creationTimestamp"]) + CREATES_PODS


def _reasons(pod: Raw) -> Iterator[Waiting]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield Waiting(condition.get("reason", "Unschedulable"), f"pod {name}: {condition.get('message', '')}")
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting and waiting.get("reason") not in _ON_THE_WAY:
            yield Waiting(waiting.get("reason", "ContainerWaiting"), f"pod {name}: {waiting.get('message', '')}")


def _told(event: Raw) -> tuple[datetime, Waiting]:
    """When an event was last seen, and what it says."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("deprecatedLastTimestamp"), event.get("eventTime"))
    last = next(text for text in (*times, event["metadata"]["creationTimestamp"]) if text)
    return moment(last), Waiting(event["reason"], event.get("note", ""))

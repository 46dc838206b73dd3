"""When a job goes, and what has to happen before it does. Pure.

A job whose spec says `deletionPolicy: Delete` carries a finalizer. Once it is deleted, its children go first; when
their pods have ended, a clean-up removes what the job wrote; then the finalizer goes. Nothing of it waits for ever: a
pod on a node that no longer answers is not waited for, and a clean-up that fails leaves the artifacts and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from branchmerge.api.resource import GROUP, DeletionPolicy, Spec
from branchmerge.api.status import Status
from branchmerge.kube.events import Event
from branchmerge.kube.observe import holds_resources, is_lost, lost_at, outcome_of
from branchmerge.kube.raw import Raw, condition_of, moment

FINALIZER = f"{GROUP}/artifacts"

CLEANUP_SECONDS = 900
"""Longest duration of a clean-up, all its tries together."""
_CLEANUP_MARGIN = timedelta(seconds=60)
"""A clean-up that has not ended so long after its longest duration never began, as when a queue holds it."""
_TOLD_SOON = timedelta(seconds=30)
"""The garbage collector tells a pod to end, whose owner is gone, in less."""


@dataclass(frozen=True, slots=True)
class RemoveChildren:
    """Delete these children."""

    children: tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Start the clean-up."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before something changes, or until this moment."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """Take the finalizer away: the job goes. The event says what became of artifacts that were to go too."""

    event: Event | None = None


Step = RemoveChildren | CleanUp | WaitUntil | Release


def expires_at(spec: Spec, status: Status) -> datetime | None:
    """When a job that has ended is to be deleted. None: it has not ended, or it stays."""
    if spec.ttl_seconds_after_finished is None or status.completion_time is None:
        return None
    return status.completion_time + timedelta(seconds=spec.ttl_seconds_after_finished)


def finalizers_of(metadata: Raw, spec: Spec) -> list[str]:
    """The finalizers that the job is to have: those of others, and ours where its artifacts go with it."""
    ours = [FINALIZER] if spec.deletion_policy is DeletionPolicy.DELETE else []
    return without_ours(metadata) + ours


def without_ours(metadata: Raw) -> list[str]:
    """The finalizers of others."""
    return [name for name in metadata.get("finalizers", []) if name != FINALIZER]


def next_step(
    children: Sequence[Raw], pods: Sequence[Raw], cleanup: Raw | None, cleanup_pods: Sequence[Raw], now: datetime
) -> Step:
    """What a deleted job needs now. `children` and `pods` are those of its attempts; `cleanup` is its clean-up."""
    if cleanup is not None:
        return _after_cleanup(cleanup, cleanup_pods, now)
    remaining = tuple(child for child in children if not child["metadata"].get("deletionTimestamp"))
    if remaining:
        return RemoveChildren(remaining)
    ending = [pod for pod in pods if holds_resources(pod) and not is_lost(pod, now)]
    return WaitUntil(min(lost_at(ending), default=now + _TOLD_SOON)) if ending else CleanUp()


def kept(why: str) -> Release:
    """The job goes, and its artifacts stay."""
    return Release(Event("Warning", "ArtifactsKept", f"what the job wrote is still in its workspace: {why}"))


def _after_cleanup(cleanup: Raw, pods: Sequence[Raw], now: datetime) -> Step:
    if condition_of(cleanup, "Complete"):
        return Release(Event("Normal", "ArtifactsDeleted", "what the job wrote is removed from its workspace"))
    failed = condition_of(cleanup, "Failed")
    if failed is not None:
        outcome = outcome_of(cleanup, pods)
        return kept(outcome.message if outcome else f"the clean-up failed: {failed.get('message', '')}")
    due = moment(cleanup["metadata"]["creationTimestamp"]) + timedelta(seconds=CLEANUP_SECONDS) + _CLEANUP_MARGIN
    return WaitUntil(due) if now < due else kept(f"the clean-up has not ended in {CLEANUP_SECONDS} s")

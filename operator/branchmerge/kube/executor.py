"""Runs attempts as children of a job on Kubernetes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.core.model import Discard, Observation, Start, Stop
from branchmerge.kube.cluster import (
    EVENTS,
    PODS,
    REFUSALS,
    Cluster,
    ClusterError,
    ConflictError,
    Kind,
    NotFoundError,
)
from branchmerge.kube.informer import Informer
from branchmerge.kube.labels import DISRUPTED_ANNOTATION, FAILURE_ANNOTATION, JOB_LABEL, STOPPED_ANNOTATION
from branchmerge.kube.manifests import CHILD_KINDS, child_kind, child_manifest
from branchmerge.kube.observe import (
    attempt_of,
    has_ended,
    holds_resources,
    is_attempt,
    is_lost,
    lacks_outcome,
    lost_at,
    marked,
    marks_of,
    results_of,
)
from branchmerge.kube.raw import Raw, is_owned_by
from branchmerge.kube.reporting import ProgressBoard
from branchmerge.kube.settings import OperatorSettings
from branchmerge.kube.waiting import lacks_pods, pods_due

KINDS: Mapping[str, Kind] = {each.kind: Kind(each.api_version, each.plural) for each in CHILD_KINDS}
"""Kind of a child -> where the API server keeps it."""


class KubeExecutor:
    """The attempts of one job, for one pass over it. Implements `core.executor.Executor`."""

    def __init__(
        self,
        job: DistillationJob,
        cluster: Cluster,
        children: Mapping[str, Informer],
        pods: Informer,
        board: ProgressBoard,
        settings: OperatorSettings,
        obstacles: dict[str, str],
    ) -> None:
        """`obstacles`: stage -> why it could not be started last time; what is tried now goes in there."""
        assert job.metadata.namespace is not None, "an object of the API server has a namespace"
        assert job.metadata.uid is not None, "an object of the API server has a uid"
        self._job = job
        self._namespace = job.metadata.namespace
        self._uid = job.metadata.uid
        self._cluster = cluster
        self._children = children
        self._pods = pods
        self._board = board
        self._settings = settings
        self._obstacles = obstacles

    async def observe(self, job: DistillationJob) -> Observation:
        """All attempts and results, by what the informers hold. What pods alone tell is put down on their child.

        What inputs stand for only pods can see, so a stage has to find it out.
        """
        now = datetime.now(UTC)
        pods_of = self._pods_by_owner()
        children = [await self._marked(child, pods_of[child["metadata"]["uid"]], now) for child in self._own_children()]
        attempts = [
            attempt_of(child, pods, self._board.of(*_place(child)), now, await self._warnings(child, pods, now))
            for child, pods in children
        ]
        started_at = job.status.start_time if job.status else None
        return Observation(
            now=now,
            attempts=tuple(attempts),
            results=results_of(children),
            pins=None,
            started_at=started_at or now,
            obstacles=dict(self._obstacles),
        )

    def next_look(self) -> datetime | None:
        """When time alone changes what is observed; None where it never does.

        That is when a pod that was told to end and has not counts as lost, and when a child must have pods.
        """
        now = datetime.now(UTC)
        pods_of = self._pods_by_owner()
        moments = lost_at(pod for pods in pods_of.values() for pod in pods)
        moments += [pods_due(child) for child in self._own_children() if not pods_of[child["metadata"]["uid"]]]
        return min((each for each in moments if each > now), default=None)

    async def start(self, action: Start) -> bool:
        """Create the attempt's child; that it exists already is as good.

        False while something is in its way: that is told by the next observation.
        """
        obstacle = await self._create(action)
        if obstacle is None:
            self._obstacles.pop(action.stage.name, None)
            return True
        self._obstacles[action.stage.name] = obstacle
        return False

    async def _create(self, action: Start) -> str | None:
        """Create the attempt's child. What is in the way, where that is not a matter of asking again at once."""
        if self._has_predecessor:
            return "waits for pods of an earlier job of this name to end: both would write into one folder"
        kind, body = child_kind(action.stage.kind).kind, child_manifest(action, self._job, self._settings)
        name = body["metadata"]["name"]
        try:
            await self._cluster.create(KINDS[kind], self._namespace, body)
        except ConflictError:
            there = await self._cluster.get(KINDS[kind], self._namespace, name)
            return None if is_owned_by(there, self._uid) else f"{kind} {name} belongs to somebody else: delete it"
        except ClusterError as error:
            if error.status not in REFUSALS:
                raise
            return f"{kind} {name} was refused: {error.message}"
        return None

    async def stop(self, action: Stop) -> None:
        """Delete the child's pods after they were told to end; the child stays as the record of the attempt."""
        attempt = action.attempt
        patch = {"metadata": {"annotations": {STOPPED_ANNOTATION: action.reason}}, **_suspended(attempt.child_kind)}
        with suppress(NotFoundError):
            await self._cluster.merge(KINDS[attempt.child_kind], self._namespace, attempt.child_name, patch)

    async def discard(self, action: Discard) -> None:
        """Delete the child, and with it its pods."""
        attempt = action.attempt
        await self._cluster.delete(KINDS[attempt.child_kind], self._namespace, attempt.child_name)
        self._board.forget(self._namespace, attempt.child_name)

    def _own_children(self) -> list[Raw]:
        return [child for child in self._children_of_name() if is_owned_by(child, self._uid) and is_attempt(child)]

    def _children_of_name(self) -> list[Raw]:
        """The children of this job, and of an earlier one of its name."""
        return [
            {**child, "kind": kind}
            for kind, informer in self._children.items()
            for child in informer.labelled(self._namespace, JOB_LABEL, self._job.metadata.name)
        ]

    @cached_property
    def _has_predecessor(self) -> bool:
        """Whether pods run that belong to a job of this name which is gone. Looked up once, for all starts."""
        now = datetime.now(UTC)
        ours = {child["metadata"]["uid"] for child in self._children_of_name() if is_owned_by(child, self._uid)}
        return any(
            holds_resources(pod) and not is_lost(pod, now)
            for owner, pods in self._pods_by_owner().items()
            if owner not in ours
            for pod in pods
        )

    def _pods_by_owner(self) -> defaultdict[str, list[Raw]]:
        """The pods of jobs of this name, by the uid of each object that owns them."""
        pods: defaultdict[str, list[Raw]] = defaultdict(list)
        for pod in self._pods.labelled(self._namespace, JOB_LABEL, self._job.metadata.name):
            for owner in pod["metadata"].get("ownerReferences", []):
                pods[owner["uid"]].append(pod)
        return pods

    async def _marked(self, child: Raw, pods: list[Raw], now: datetime) -> tuple[Raw, list[Raw]]:
        """The child with what must outlive its pods put down on it, and the pods that this was read from.

        The rest of a disrupted gang is told to end.
        """
        progress = self._board.of(*_place(child))
        marks = marks_of(child, pods, progress, now)
        kind, name = child["kind"], child["metadata"]["name"]
        with suppress(NotFoundError):
            # What is put down for good is read from the API server itself: each of the informers may lag. A pod that
            # is deleted is no disruption if its child has ended or was suspended by its queue before.
            if DISRUPTED_ANNOTATION in marks:
                child = {**await self._cluster.get(KINDS[kind], self._namespace, name), "kind": kind}
                marks = marks_of(child, pods, progress, now)
            if FAILURE_ANNOTATION in marks or lacks_outcome(child, pods):
                pods = await self._listed_pods(child)
                marks = marks_of(child, pods, progress, now)
            if marks:
                patch = {"metadata": {"annotations": marks}}
                patch |= _suspended(kind) if DISRUPTED_ANNOTATION in marks else {}
                await self._cluster.merge(KINDS[kind], self._namespace, name, patch)
        return marked(child, marks), pods

    async def _listed_pods(self, child: Raw) -> list[Raw]:
        pods, _ = await self._cluster.list(PODS, self._namespace, f"{JOB_LABEL}={self._job.metadata.name}")
        return [pod for pod in pods if is_owned_by(pod, child["metadata"]["uid"])]

    async def _warnings(self, child: Raw, pods: list[Raw], now: datetime) -> Sequence[Raw]:
        """What its controller says of a child that should have pods and has none."""
        if has_ended(child) or not lacks_pods(child, pods, now):
            return []
        uid = child["metadata"]["uid"]
        warnings, _ = await self._cluster.list(EVENTS, self._namespace, fields=f"regarding.uid={uid},type=Warning")
        return warnings


def _suspended(kind: str) -> dict[str, Any]:
    """The patch that has the controller of such a child end its pods gracefully and keep the child."""
    if kind == "PyTorchJob":
        return {"spec": {"runPolicy": {"suspend": True}}}
    return {"spec": {"suspend": True}}


def _place(child: Raw) -> tuple[str, str]:
    return child["metadata"]["namespace"], child["metadata"]["name"]

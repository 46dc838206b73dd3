"""Runs attempts as children of a job on Kubernetes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.core.model import Discard, Observation, Start, Stop
from branchmerge.kube.cluster import JOBS, PYTORCH_JOBS, Cluster, ConflictError, Kind, NotFoundError
from branchmerge.kube.informer import Informer
from branchmerge.kube.labels import DISRUPTED_ANNOTATION, JOB_LABEL, STOPPED_ANNOTATION
from branchmerge.kube.manifests import child_kind, child_manifest
from branchmerge.kube.observe import (
    attempt_of,
    holds_resources,
    is_attempt,
    is_lost,
    lost_at,
    marked,
    marks_of,
    results_of,
)
from branchmerge.kube.raw import Raw, is_owned_by
from branchmerge.kube.reporting import ProgressBoard
from branchmerge.kube.settings import OperatorSettings

KINDS: Mapping[str, Kind] = {"Job": JOBS, "PyTorchJob": PYTORCH_JOBS}


class KubeExecutor:
    """The attempts of one job. Implements `core.executor.Executor`."""

    def __init__(
        self,
        job: DistillationJob,
        cluster: Cluster,
        children: Mapping[str, Informer],
        pods: Informer,
        board: ProgressBoard,
        settings: OperatorSettings,
    ) -> None:
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

    async def observe(self, job: DistillationJob) -> Observation:
        """All attempts and results, by what the informers hold. What pods alone tell is put down on their child."""
        now = datetime.now(UTC)
        pods_of = self._pods_by_owner()
        children = [
            (await self._marked(child, pods, now), pods)
            for child in self._own_children()
            for pods in [pods_of[child["metadata"]["uid"]]]
        ]
        attempts = [attempt_of(child, pods, self._board.of(*_place(child)), now) for child, pods in children]
        pins = {pin.name: pin.digest for pin in job.status.pins} if job.status else {}
        started_at = job.status.start_time if job.status else None
        return Observation(
            now=now,
            attempts=tuple(attempts),
            results=results_of(children),
            pins=pins,
            started_at=started_at or now,
        )

    def next_loss(self) -> datetime | None:
        """When a pod that was told to end and has not counts as lost; None where there is no such pod."""
        now = datetime.now(UTC)
        moments = lost_at(pod for pods in self._pods_by_owner().values() for pod in pods)
        return min((each for each in moments if each > now), default=None)

    async def start(self, action: Start) -> bool:
        """Create the attempt's child; that it exists already is as good.

        False while a job of this name that is gone still has pods or children: two would write into one folder.
        """
        if self._has_predecessor():
            return False
        kind, body = KINDS[child_kind(action.stage.kind).kind], child_manifest(action, self._job, self._settings)
        try:
            await self._cluster.create(kind, self._namespace, body)
        except ConflictError:
            there = await self._cluster.get(kind, self._namespace, body["metadata"]["name"])
            return is_owned_by(there, self._uid)
        return True

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

    def _has_predecessor(self) -> bool:
        """Whether pods run that belong to a job of this name which is gone."""
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

    async def _marked(self, child: Raw, pods: list[Raw], now: datetime) -> Raw:
        """The child with what must outlive its pods put down on it; the rest of a disrupted gang is told to end."""
        marks = marks_of(child, pods, now)
        if not marks:
            return child
        kind, name = child["kind"], child["metadata"]["name"]
        patch = {"metadata": {"annotations": marks}} | (_suspended(kind) if DISRUPTED_ANNOTATION in marks else {})
        with suppress(NotFoundError):
            await self._cluster.merge(KINDS[kind], self._namespace, name, patch)
        return marked(child, marks)


def _suspended(kind: str) -> dict[str, Any]:
    """The patch that has the controller of such a child end its pods gracefully and keep the child."""
    if kind == "PyTorchJob":
        return {"spec": {"runPolicy": {"suspend": True}}}
    return {"spec": {"suspend": True}}


def _place(child: Raw) -> tuple[str, str]:
    return child["metadata"]["namespace"], child["metadata"]["name"]

"""Runs attempts as children of a job on Kubernetes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.core.model import Attempt, Discard, Observation, Start, Stop
from branchmerge.kube.cluster import JOBS, PYTORCH_JOBS, Cluster, ConflictError, Kind, NotFoundError
from branchmerge.kube.informer import Informer, Raw
from branchmerge.kube.labels import JOB_LABEL, OUTCOME_ANNOTATION, STOPPED_ANNOTATION
from branchmerge.kube.manifests import child_kind, child_manifest
from branchmerge.kube.observe import attempt_of, outcome_of, results_of
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
        self._job = job
        self._namespace = job.metadata.namespace
        self._cluster = cluster
        self._children = children
        self._pods = pods
        self._board = board
        self._settings = settings

    async def observe(self, job: DistillationJob) -> Observation:
        """All attempts and results, by what the informers hold; outcomes are copied onto their children first."""
        now = datetime.now(UTC)
        pods_of = self._pods_by_owner()
        children = [(child, pods_of[child["metadata"]["uid"]]) for child in self._own_children()]
        for child, pods in children:
            await self._keep_outcome(child, pods)
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

    async def start(self, action: Start) -> bool:
        """Create the attempt's child; that it exists already is as good."""
        body = child_manifest(action, self._job, self._settings)
        with suppress(ConflictError):
            await self._cluster.create(KINDS[child_kind(action.stage.kind).kind], self._namespace, body)
        return True

    async def stop(self, action: Stop) -> None:
        """Delete the child's pods after they were told to end; the child stays as the record of the attempt."""
        attempt = action.attempt
        patch = {"metadata": {"annotations": {STOPPED_ANNOTATION: action.reason}}, **_suspended(attempt)}
        with suppress(NotFoundError):
            await self._cluster.merge(KINDS[attempt.child_kind], self._namespace, attempt.child_name, patch)

    async def discard(self, action: Discard) -> None:
        """Delete the child, and with it its pods."""
        attempt = action.attempt
        await self._cluster.delete(KINDS[attempt.child_kind], self._namespace, attempt.child_name)
        self._board.forget(self._namespace, attempt.child_name)

    def _own_children(self) -> list[dict[str, Any]]:
        uid = self._job.metadata.uid
        return [
            {**child, "kind": kind}
            for kind, informer in self._children.items()
            for child in informer.labelled(self._namespace, JOB_LABEL, self._job.metadata.name)
            if any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences", []))
        ]

    def _pods_by_owner(self) -> defaultdict[str, list[Raw]]:
        """The job's pods, by the uid of each object that owns them."""
        pods: defaultdict[str, list[Raw]] = defaultdict(list)
        for pod in self._pods.labelled(self._namespace, JOB_LABEL, self._job.metadata.name):
            for owner in pod["metadata"].get("ownerReferences", []):
                pods[owner["uid"]].append(pod)
        return pods

    async def _keep_outcome(self, child: Raw, pods: list[Raw]) -> None:
        """Copy the outcome from the pods onto the child, which lives as long as the job needs it."""
        outcome = outcome_of(child, pods)
        if outcome is None or OUTCOME_ANNOTATION in child["metadata"].get("annotations", {}):
            return
        patch = {"metadata": {"annotations": {OUTCOME_ANNOTATION: outcome.to_json()}}}
        await self._cluster.merge(KINDS[child["kind"]], self._namespace, child["metadata"]["name"], patch)


def _suspended(attempt: Attempt) -> dict[str, Any]:
    """The patch that has the child's controller end its pods gracefully and keep the child."""
    if attempt.child_kind == "PyTorchJob":
        return {"spec": {"runPolicy": {"suspend": True}}}
    return {"spec": {"suspend": True}}


def _place(child: Raw) -> tuple[str, str]:
    return child["metadata"]["namespace"], child["metadata"]["name"]

"""Deletes jobs when their time has come, and what they wrote where their spec says so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.resource import DeletionPolicy, DistillationJob, Metadata, Spec
from branchmerge.api.status import Status
from branchmerge.kube.acceptance import parse
from branchmerge.kube.cleanup import cleanup_manifest, cleanup_name
from branchmerge.kube.cluster import (
    DISTILLATION_JOBS,
    JOBS,
    PODS,
    REFUSALS,
    Cluster,
    ClusterError,
    Raw,
)
from branchmerge.kube.events import Event
from branchmerge.kube.executor import KINDS
from branchmerge.kube.labels import JOB_LABEL
from branchmerge.kube.raw import is_owned_by
from branchmerge.kube.retention import (
    FINALIZER,
    CleanUp,
    Release,
    RemoveChildren,
    Step,
    WaitUntil,
    expires_at,
    finalizers_of,
    kept,
    next_step,
    without_ours,
)
from branchmerge.kube.settings import OperatorSettings

Tell = Callable[[Metadata, list[Event]], Awaitable[None]]
"""Publishes events of a job."""

logger = logging.getLogger(__name__)


class Deletion:
    """The end of jobs. Every call may be repeated, and looks at the API server itself: a copy of it may lag."""

    def __init__(self, cluster: Cluster, settings: OperatorSettings, tell: Tell) -> None:
        self._cluster = cluster
        self._settings = settings
        self._tell = tell

    async def hold(self, body: Raw, spec: Spec) -> Raw:
        """Give the job the finalizer that its spec asks for, or take it away; the job as it is then.

        Raises ConflictError where it was changed meanwhile.
        """
        finalizers = finalizers_of(body["metadata"], spec)
        if finalizers == body["metadata"].get("finalizers", []):
            return body
        return await self._finalize(body["metadata"], finalizers)

    async def expire(self, body: Raw, spec: Spec, status: Status) -> datetime | None:
        """Delete the job if its time has come. Else when it comes, or None where it never does.

        Raises ConflictError where the job was changed meanwhile.
        """
        due = expires_at(spec, status)
        if due is None or datetime.now(UTC) < due:
            return due
        metadata = body["metadata"]
        logger.info(
            "deletes the job: ttlSecondsAfterFinished is over",
            extra={"job": f"{metadata['namespace']}/{metadata['name']}"},
        )
        read = {field: metadata[field] for field in ("uid", "resourceVersion")}
        await self._cluster.delete(DISTILLATION_JOBS, metadata["namespace"], metadata["name"], precondition=read)
        return None

    async def proceed(self, body: Raw) -> datetime | None:
        """Bring a deleted job closer to its end. When to look again without an event; None where that is not needed.

        Raises ClusterError where the API server must be asked again later.
        """
        metadata = body["metadata"]
        if FINALIZER not in metadata.get("finalizers", []):
            return None  # its children go by their owner references
        step = await self._carry_out(body)
        if isinstance(step, WaitUntil):
            return step.moment
        if step.event is not None:  # before the job goes: afterwards nobody would know
            await self._tell(Metadata.model_validate(metadata), [step.event])
        await self._finalize(metadata, without_ours(metadata))
        return None

    async def _carry_out(self, body: Raw) -> WaitUntil | Release:
        """Take one step after another, until there is something to wait for or nothing left to do."""
        job, wrong = parse(body)
        if job is None:
            return kept(f"its spec cannot be read: {'; '.join(wrong)}")
        if job.spec.deletion_policy is DeletionPolicy.RETAIN:
            return Release()
        while True:
            match await self._step(job):
                case RemoveChildren(children):
                    await self._remove(children)
                case CleanUp():
                    refused = await self._clean_up(job)
                    if refused is not None:
                        return refused
                case WaitUntil() | Release() as step:
                    return step

    async def _step(self, job: DistillationJob) -> Step:
        namespace, name, uid = _identity(job)
        own = {}
        for kind in KINDS.values():
            found, _ = await self._cluster.list(kind, namespace, f"{JOB_LABEL}={name}")
            own[kind] = [child for child in found if is_owned_by(child, uid)]
        pods, _ = await self._cluster.list(PODS, namespace, f"{JOB_LABEL}={name}")
        cleanup = next((each for each in own[JOBS] if each["metadata"]["name"] == cleanup_name(name, uid)), None)
        of_cleanup = [pod for pod in pods if cleanup is not None and is_owned_by(pod, cleanup["metadata"]["uid"])]
        children = [child for found in own.values() for child in found if child is not cleanup]
        of_children = [pod for pod in pods if pod not in of_cleanup and pod["metadata"].get("ownerReferences")]
        return next_step(children, of_children, cleanup, of_cleanup, datetime.now(UTC))

    async def _remove(self, children: Sequence[Mapping[str, Any]]) -> None:
        for child in children:
            metadata = child["metadata"]
            namespace, name, job = metadata["namespace"], metadata["name"], metadata["labels"][JOB_LABEL]
            logger.info("deletes %s", name, extra={"job": f"{namespace}/{job}"})
            kind = next(kind for kind in KINDS.values() if kind.api_version == child["apiVersion"])
            await self._cluster.delete(kind, namespace, name)

    async def _clean_up(self, job: DistillationJob) -> Release | None:
        """Start the clean-up; the end of it all where the API server will never take it."""
        namespace, name, _ = _identity(job)
        if job.spec.workspace.persistent_volume_claim is None:
            return kept("the spec names no volume")
        logger.info("starts the clean-up", extra={"job": f"{namespace}/{name}"})
        try:
            await self._cluster.create(JOBS, namespace, cleanup_manifest(job, self._settings))
        except ClusterError as error:
            if error.status in REFUSALS:
                return kept(f"the clean-up was refused: {error.message}")
            raise
        return None

    async def _finalize(self, metadata: Raw, finalizers: list[str]) -> Raw:
        """Set the finalizers, unless the job was changed since it was read: a merge patch replaces the whole list."""
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        return await self._cluster.merge(DISTILLATION_JOBS, metadata["namespace"], metadata["name"], patch)


def _identity(job: DistillationJob) -> tuple[str, str, str]:
    """(namespace, name, uid)."""
    metadata = job.metadata
    assert metadata.namespace is not None, "an object of the API server has a namespace"
    assert metadata.uid is not None, "an object of the API server has a uid"
    return metadata.namespace, metadata.name, metadata.uid

"""Brings each job to what its spec asks for: observe, plan, act, write the status, tell the events."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from branchmerge.api.resource import DistillationJob, Metadata
from branchmerge.api.status import Phase, Status
from branchmerge.core.conditions import refused
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Discard, Plan, Start, Stop
from branchmerge.core.plan import plan
from branchmerge.core.status import job_status
from branchmerge.kube.acceptance import parse, problems
from branchmerge.kube.cluster import DISTILLATION_JOBS, EVENTS, Cluster, ClusterError, ConflictError, NotFoundError
from branchmerge.kube.deletion import Deletion
from branchmerge.kube.events import Event, manifest, transitions
from branchmerge.kube.executor import KubeExecutor
from branchmerge.kube.informer import Informer
from branchmerge.kube.reporting import ProgressBoard
from branchmerge.kube.settings import OperatorSettings
from branchmerge.kube.workqueue import WorkQueue

JobKey = tuple[str, str]
"""(namespace, name) of a job."""

_BUSY = timedelta(seconds=2)
"""Wait before an attempt is asked for again that there was no room for."""

logger = logging.getLogger(__name__)


class Controller:
    """Reconciles jobs, one at a time each."""

    def __init__(
        self,
        cluster: Cluster,
        children: Mapping[str, Informer],
        pods: Informer,
        board: ProgressBoard,
        settings: OperatorSettings,
        identity: str,
    ) -> None:
        self.queue: WorkQueue[JobKey] = WorkQueue()
        self._cluster = cluster
        self._children = children
        self._pods = pods
        self._board = board
        self._settings = settings
        self._identity = identity
        self._deletion = Deletion(cluster, settings, self._tell)
        self._obstacles: defaultdict[JobKey, dict[str, str]] = defaultdict(dict)
        """Job -> stage -> why it could not be started when that was tried last; found anew after a restart."""

    async def reconcile(self, key: JobKey) -> None:
        """One pass over a job. Raises ClusterError where the API server must be asked again later."""
        namespace, name = key
        try:
            body = await self._cluster.get(DISTILLATION_JOBS, namespace, name)
        except NotFoundError:
            self.queue.forget(key)  # its children go by their owner references
            self._obstacles.pop(key, None)
            return
        if body["metadata"].get("deletionTimestamp"):
            self._look_again(key, await self._deletion.proceed(body))
            return
        job, wrong = parse(body)
        if job is not None:
            wrong = problems(job.spec, self._settings)
        if job is None or wrong:
            await self._refuse(body, wrong)
            return
        await self._advance(key, job, body)

    def on_error(self, key: JobKey, error: Exception) -> float | None:
        """Log why a pass failed; the queue brings the job again, after what the API server asks to wait in seconds."""
        extra = {"job": "/".join(key)}
        if isinstance(error, ConflictError):
            logger.info("the job has changed meanwhile", extra=extra)
        elif isinstance(error, ClusterError):
            logger.warning("API server: %s", error, extra=extra)
        else:
            logger.error("pass failed", exc_info=error, extra=extra)
        return error.retry_after_seconds if isinstance(error, ClusterError) else None

    async def _advance(self, key: JobKey, job: DistillationJob, body: dict[str, Any]) -> None:
        body = await self._deletion.hold(body, job.spec)
        executor = KubeExecutor(
            job, self._cluster, self._children, self._pods, self._board, self._settings, self._obstacles[key]
        )
        observation = await executor.observe(job)
        graph = build_graph(job, observation.pins, observation.results)
        observation = replace(observation, pins=graph.pins)
        decided = plan(job, graph, observation)
        status = job_status(job, decided, observation, job.status)
        # The status goes first: a job that another process has changed since is not acted on.
        body = await self._write(job, body, status)
        busy_until = await self._act(executor, decided, key)
        expires_at = await self._deletion.expire(body, job.spec, status)
        self._look_again(key, decided.wake_at, busy_until, expires_at, executor.next_look())

    def _look_again(self, key: JobKey, *moments: datetime | None) -> None:
        """Bring the job back at the earliest of these moments; without any, after a while."""
        now = datetime.now(UTC)
        latest = now + timedelta(seconds=self._settings.resync_seconds)
        earliest = min((moment for moment in moments if moment is not None), default=latest)
        self.queue.add_after(key, (min(earliest, latest) - now).total_seconds())

    async def _act(self, executor: KubeExecutor, decided: Plan, key: JobKey) -> datetime | None:
        """Carry the plan out. When to ask again for what there was no room for; None where there was."""
        busy = False
        for action in decided.actions:
            extra = {"job": "/".join(key)}
            match action:
                case Start():
                    extra["stage"] = action.stage.name
                    logger.info("starts attempt %d", action.config.attempt, extra=extra)
                    busy |= not await executor.start(action)
                case Stop():
                    extra["stage"] = action.attempt.stage
                    logger.info("stops %s: %s", action.attempt.child_name, action.reason, extra=extra)
                    await executor.stop(action)
                case Discard():
                    extra["stage"] = action.attempt.stage
                    logger.info("discards %s", action.attempt.child_name, extra=extra)
                    await executor.discard(action)
        return datetime.now(UTC) + _BUSY if busy else None

    async def _refuse(self, body: dict[str, Any], wrong: list[str]) -> None:
        """Say by the condition Accepted what is wrong. Nothing is retried until the spec changes."""
        job = Metadata.model_validate(body["metadata"])
        before = _status_of(body) or Status()
        accepted, conditions = refused("; ".join(wrong), job.generation, datetime.now(UTC), before.conditions)
        update = {"observed_generation": job.generation, "phase": before.phase or Phase.PENDING}
        await self._write_raw(body, before, before.model_copy(update={**update, "conditions": conditions}))
        if all(earlier.message != accepted.message for earlier in before.conditions if earlier.type == accepted.type):
            await self._tell(job, [Event("Warning", accepted.reason, accepted.message)])

    async def _write(self, job: DistillationJob, body: dict[str, Any], status: Status) -> dict[str, Any]:
        """Replace the status unless it is there already; the job as it is then, its events told."""
        written = await self._write_raw(body, job.status, status)
        if written is not body:
            await self._tell(job.metadata, transitions(job.status, status))
        return written

    async def _write_raw(self, body: dict[str, Any], before: Status | None, status: Status) -> dict[str, Any]:
        """Replace the status unless it is there already. Raises ConflictError where the job was changed meanwhile."""
        if before is not None and before == status:
            return body
        plain = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return await self._cluster.replace(DISTILLATION_JOBS, {**body, "status": plain}, subresource="status")

    async def _tell(self, job: Metadata, events: Sequence[Event]) -> None:
        assert job.namespace is not None, "an object of the API server has a namespace"
        for number, event in enumerate(events):
            try:
                await self._cluster.create(EVENTS, job.namespace, manifest(event, job, self._identity, number))
            except ClusterError as error:
                logger.warning("event %s not told: %s", event.reason, error, extra={"job": job.name})


def _status_of(body: dict[str, Any]) -> Status | None:
    try:
        return Status.model_validate(body["status"]) if body.get("status") else None
    except ValidationError:
        return None  # of another version; it is written anew

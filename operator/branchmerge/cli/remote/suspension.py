"""`branchmerge suspend` and `branchmerge resume` of a job on a cluster. Need the rights to get and to patch the job."""

from __future__ import annotations

import asyncio
import time

from branchmerge.api.status import ConditionType, StageState, Status
from branchmerge.cli.console import failed, output
from branchmerge.cli.picture import holds
from branchmerge.cli.place import RemoteJob
from branchmerge.cli.remote.connection import Connection, JobObject, connected
from branchmerge.cli.words import plural
from branchmerge.core.naming import listed
from branchmerge.kube.cluster import DISTILLATION_JOBS

_POLL_SECONDS = 1.0
_AT_WORK = frozenset({StageState.RUNNING, StageState.STOPPING})


def set_suspended(job: RemoteJob, *, suspended: bool, wait_seconds: float | None) -> None:
    """Set spec.suspend, say what follows, and wait for it where `wait_seconds` says how long."""

    async def work(connection: Connection) -> None:
        before = await connection.read()
        if before.over:
            verb = "suspend" if suspended else "resume"
            raise failed(f"{before.name}: has ended ({before.status.phase}): there is nothing to {verb}")
        if before.suspended != suspended:
            patch = {"spec": {"suspend": suspended}}
            await connection.cluster.merge(DISTILLATION_JOBS, connection.namespace, connection.name, patch)
        output().print(announcement(before, suspended=suspended, typed=connection.typed), markup=False)
        if wait_seconds is not None:
            await _wait(connection, suspended=suspended, seconds=wait_seconds)

    connected(job, work)


def announcement(before: JobObject, *, suspended: bool, typed: str) -> str:
    """What follows, for a job as it was before."""
    done = "already " if before.suspended == suspended else ""
    if not suspended:
        return f"{before.name}: {done}resumed: stages go on from their last checkpoints"
    running = _at_work(before.status)
    stops = f"{listed(running)} end, training after a checkpoint; " if running else ""
    return f"{before.name}: {done}suspended: {stops}nothing starts until branchmerge resume {typed}"


async def _wait(connection: Connection, *, suspended: bool, seconds: float) -> None:
    """Wait until the job stands as it was asked to. Raises typer.Exit where that takes too long."""
    until = time.monotonic() + seconds
    while not settled(job := await connection.read(), suspended=suspended):
        if job.suspended != suspended:
            raise failed(f"{job.name}: somebody has changed spec.suspend back")
        if time.monotonic() > until:
            raise failed(f"{job.name}: not so after {seconds:.0f} s: {_why(job)}")
        await asyncio.sleep(_POLL_SECONDS)
    output().print(f"{job.name}: {'every stage has stopped' if suspended else 'at work'}", markup=False)


def settled(job: JobObject, *, suspended: bool) -> bool:
    """Whether the operator has done what the spec asks for. A job that has ended meanwhile is done with, too."""
    return job.over or (
        job.suspended == suspended and job.current and holds(job.status, ConditionType.SUSPENDED) == suspended
    )


def _why(job: JobObject) -> str:
    if not job.current:
        return "the operator has not seen the change: look whether it runs"
    running = _at_work(job.status)
    return f"{plural(len(running), 'stage')} at work: {listed(running)}" if running else f"phase {job.status.phase}"


def _at_work(status: Status) -> list[str]:
    return [stage.name for stage in status.stages if stage.state in _AT_WORK]

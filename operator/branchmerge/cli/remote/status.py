"""`branchmerge status` of a job on a cluster. Needs the right to get the job, and nothing else."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import typer

from branchmerge.api.status import StageState, StageStatus
from branchmerge.cli.board import rows_of_status
from branchmerge.cli.picture import Picture, show, watch
from branchmerge.cli.place import RemoteJob
from branchmerge.cli.remote.connection import Connection, JobObject, connected
from branchmerge.kube.cluster import ClusterError

_PATIENCE_SECONDS = 60.0
"""An API server that restarts answers again by then."""
_RETRY_SECONDS = 2.0
_CHILD_MATTERS = frozenset({StageState.RUNNING, StageState.STOPPING, StageState.BACKING_OFF, StageState.FAILED})


def show_status(job: RemoteJob, *, follow: bool) -> None:
    """Print where the job stands; where it is followed, until it ends."""
    picture = connected(job, _follow if follow else _look)
    if follow:
        raise typer.Exit(picture.code)
    show(picture)


async def _look(connection: Connection) -> Picture:
    return picture_of(await connection.read(), connection.place)


async def _follow(connection: Connection) -> Picture:
    """Look again and again: a watch would need one more right, and be no faster for who reads it."""
    await connection.read()  # what is wrong now is not waited for
    return await watch(lambda: _patiently(connection))


async def _patiently(connection: Connection) -> Picture:
    """Look, and again for a minute while an API server restarts: until it knows every role it refuses everybody."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await _look(connection)
        except ClusterError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


def picture_of(job: JobObject, place: str) -> Picture:
    """What the job's object tells; `place` is where it was found."""
    status = job.status
    return Picture(
        name=job.name,
        status=status,
        rows=rows_of_status(status, datetime.now(UTC)),
        footer=(*_children(status.stages), *_remarks(job), f"in {place}"),
        over=job.over,
    )


def _children(stages: list[StageStatus]) -> list[str]:
    """Names of the children that somebody may want to look into, as kubectl takes them."""
    return [
        f"{stage.name}: {stage.child.kind.lower()}/{stage.child.name}"
        for stage in stages
        if stage.child and stage.state in _CHILD_MATTERS
    ]


def _remarks(job: JobObject) -> list[str]:
    """What a reader must know about the status itself."""
    seen = job.status.observed_generation
    if seen is None:
        return ["the operator has not seen it yet: if this stays so, look whether the operator runs"]
    if not job.current:
        return [f"the spec has changed since: it is of generation {job.generation}, this status of {seen}"]
    return []

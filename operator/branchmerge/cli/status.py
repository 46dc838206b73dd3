"""`branchmerge status`: where a job stands, whether or not somebody works on it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from branchmerge.api.status import Status
from branchmerge.cli.board import rows_of
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import ClusterOption, ContextOption, JobArgument, NamespaceOption, WorkspaceOption
from branchmerge.cli.picture import Picture, show, watch
from branchmerge.cli.place import RemoteJob, locate
from branchmerge.local.files import read_record
from branchmerge.local.lock import holder
from branchmerge.local.opening import Opening
from branchmerge.local.view import attempts_of, last_asked, look


def status(
    job: JobArgument,
    workspace: WorkspaceOption = None,
    watch_: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow the job until it ends. Exit code 1 where it did not succeed.")
    ] = False,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Show where a job stands: on a cluster, or in its folder on this machine and whether a run works on it.

    Examples: branchmerge status distillation.yaml; branchmerge status tinyr1-32b -n team-a --watch
    """
    place = locate(job, cluster=cluster, context=context, namespace=namespace, workspace=workspace)
    if isinstance(place, RemoteJob):
        from branchmerge.cli.remote.status import show_status  # late: the Kubernetes client is an extra

        show_status(place, follow=watch_)
        return
    opening = Opening.of(place, workspace)
    if not watch_:
        show(_picture(opening))
        return

    async def look_again() -> Picture:
        return _picture(opening)

    raise typer.Exit(asyncio.run(watch(look_again)).code)


def _picture(opening: Opening) -> Picture:
    worker = holder(opening.folder.lock)
    attempts = attempts_of(opening.folder)
    now = read_record(opening.folder.status, Status) if worker is not None else None
    if now is None:  # nobody writes it, so it may be older than the file and the folder
        now = look(opening.job, opening.folder, resolve_inputs(opening), last_asked(opening.folder)).status
    active = any(attempt.active for attempt in attempts)
    return Picture(
        name=opening.job.metadata.name,
        status=now,
        rows=rows_of(now, attempts, datetime.now(UTC)),
        footer=(_who(opening.file.path, worker, active=active),),
        over=worker is None and not active,
    )


def _who(file: Path, worker: int | None, *, active: bool) -> str:
    if worker is not None:
        return f"a run works on it (process {worker})"
    if active:
        return f"its run is gone, but attempts go on without it: branchmerge run {file} takes them over"
    return "no run works on it"

"""`branchmerge report` of a job on a cluster.

Needs the rights to get the job and its report's Job, and to create, get, log and delete pods: Kubernetes' role `edit`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from secrets import token_hex

from branchmerge.api.stage import StageKind
from branchmerge.api.status import StageState
from branchmerge.cli.console import failed, remark
from branchmerge.cli.place import RemoteJob
from branchmerge.cli.remote.connection import Connection, JobObject, connected
from branchmerge.cli.remote.pods import exit_code, has_started, is_hopeless, why_waiting
from branchmerge.cli.remote.reader import (
    CONTAINER,
    LIMIT_BYTES,
    MISSING_EXIT,
    TOO_LARGE_EXIT,
    UnreadableError,
    printed_file,
    reader_pod,
    workspace_file,
)
from branchmerge.cli.words import size
from branchmerge.core.naming import output_folder
from branchmerge.kube.cluster import JOBS, PODS, ClusterError, NotFoundError, Raw
from branchmerge.kube.manifests import BATCH_JOB

_START_SECONDS = 180.0
"""A node that has to pull the trainer's image takes minutes."""
_QUIET_SECONDS = 5.0
_POLL_SECONDS = 0.5
_REFUSED = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY})


def fetch_report(job: RemoteJob, file: str) -> bytes:
    """The content of one of the report's files. Raises InputError, or typer.Exit once it has said what is wrong."""

    async def work(connection: Connection) -> bytes:
        found = await connection.read()
        child, relative = _report(found, connection, file)
        if not found.current:
            remark("this report is of an earlier version of the job")
        try:
            template = (await connection.cluster.get(JOBS, connection.namespace, child))["spec"]["template"]
        except NotFoundError:
            raise failed(f"{_by_hand(found, relative)}: the Job {child} that wrote it is gone") from None
        path = workspace_file(template, BATCH_JOB.container, relative)
        name = f"{found.name}-report-reader-{token_hex(3)}"
        manifest = reader_pod(name, found.body, template, BATCH_JOB.container, path)
        async with _created(connection, manifest, _by_hand(found, relative)):
            await _ended(connection, name, path)
            pieces = [piece async for piece in connection.cluster.read_log(connection.namespace, name, CONTAINER)]
        return _whole(b"".join(pieces), path)

    return connected(job, work)


def _report(job: JobObject, connection: Connection, file: str) -> tuple[str, str]:
    """Name of the Job that wrote the report, and the file's path in the workspace."""
    stage = next((each for each in job.status.stages if each.name == StageKind.REPORT), None)
    if stage is None or stage.state is not StageState.SUCCEEDED or not stage.child or not stage.fingerprint:
        stands = " ".join(str(part) for part in (job.status.phase, job.status.progress) if part)
        wait = f"follow the job with branchmerge status {connection.typed} --watch"
        raise failed(f"{job.name}: no report yet ({stands or 'not begun'}): {wait}")
    return stage.child.name, f"{output_folder(stage.name, stage.fingerprint)}/{file}"


@asynccontextmanager
async def _created(connection: Connection, manifest: Raw, by_hand: str) -> AsyncIterator[None]:
    """A pod that is there for the duration of the block, and deleted however that ends."""
    refused = False
    try:
        try:
            await connection.cluster.create(PODS, connection.namespace, manifest)
        except ClusterError as error:
            refused = error.status in _REFUSED
            if not refused:
                raise
            raise failed(f"{by_hand}: a pod that reads it was refused: {error.message}") from None
        yield
    finally:
        if not refused:  # it may be there even where no answer came
            await _delete(connection, manifest["metadata"]["name"])


async def _delete(connection: Connection, name: str) -> None:
    try:
        await connection.cluster.delete(PODS, connection.namespace, name, grace_seconds=0)
    except ClusterError as error:
        remark(f"pod {name} in {connection.place} stays until its job goes: {error.message}")


async def _ended(connection: Connection, name: str, path: str) -> None:
    """Wait until the pod has printed the file. Raises typer.Exit once it has said why it did not."""
    began, told = time.monotonic(), ""
    while True:
        pod = await connection.cluster.get(PODS, connection.namespace, name)
        code = exit_code(pod, CONTAINER)
        if code is not None:
            break
        why = f"pod {name}, which reads {path}, has not started: {why_waiting(pod, CONTAINER)}"
        waited = time.monotonic() - began
        if is_hopeless(pod, CONTAINER) or waited > _START_SECONDS:
            raise failed(why)
        if waited > _QUIET_SECONDS and why != told and not has_started(pod, CONTAINER):
            remark(why)
            told = why
        await asyncio.sleep(_POLL_SECONDS)
    if code != 0:
        raise failed(_problem(code, name, path))


def _problem(code: int, name: str, path: str) -> str:
    known = {
        MISSING_EXIT: f"{path}: is not in the workspace: somebody has removed it",
        TOO_LARGE_EXIT: f"{path}: has more than {size(LIMIT_BYTES)}: copy it from the volume",
    }
    return known.get(code, f"pod {name}, which reads {path}, failed with exit code {code}")


def _whole(log: bytes, path: str) -> bytes:
    try:
        return printed_file(log)
    except UnreadableError as error:
        raise failed(f"{path}: was not read as a whole: {error}: try again") from None


def _by_hand(job: JobObject, relative: str) -> str:
    """Where the file lies, for who has to fetch it another way."""
    workspace = job.body["spec"].get("workspace", {})
    claim = workspace.get("persistentVolumeClaim", {}).get("claimName", "")
    return f"{workspace.get('path') or job.name}/{relative} in PersistentVolumeClaim {claim}"

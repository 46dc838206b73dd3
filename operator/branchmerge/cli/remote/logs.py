"""`branchmerge logs` of a stage on a cluster.

Needs the rights to get the job, list pods and get their logs: Kubernetes' role `view`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge.api.errors import InputError
from branchmerge.api.status import StageState, StageStatus
from branchmerge.cli.console import failed, remark
from branchmerge.cli.place import RemoteJob
from branchmerge.cli.remote.connection import Connection, JobObject, connected
from branchmerge.cli.remote.pods import has_started, pods_by_node, why_waiting
from branchmerge.core.naming import child_name
from branchmerge.kube.cluster import PODS
from branchmerge.kube.labels import JOB_LABEL
from branchmerge.kube.manifests import CHILD_KINDS
from branchmerge.kube.raw import Raw

_CONTAINERS = {kind.kind: kind.container for kind in CHILD_KINDS}
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which log."""

    stage: str
    attempt: int | None
    """None: the newest."""
    node: int


@dataclass(frozen=True, slots=True)
class Source:
    """The child and container that print it."""

    title: str
    child: str
    container: str
    active: bool
    """Whether its pods may be yet to come."""


def print_log(job: RemoteJob, wanted: Wanted, *, follow: bool) -> None:
    """Print the log; where it is followed, wait for its beginning and go on until its end."""

    async def work(connection: Connection) -> None:
        pod, container = await _started(connection, wanted, wait=follow)
        async for piece in connection.cluster.read_log(connection.namespace, pod, container, follow=follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    connected(job, work)


def source_of(job: JobObject, wanted: Wanted) -> Source:
    """The child of that attempt: its name follows from the status. Raises InputError, or typer.Exit."""
    stage = _stage(job, wanted.stage)
    if not stage.attempts or stage.child is None or stage.fingerprint is None:
        raise failed(f"{stage.name} has not started: {stage.reason or stage.state}")
    number = wanted.attempt or stage.attempts
    if number > stage.attempts:
        known = "1" if stage.attempts == 1 else f"1 to {stage.attempts}"
        raise InputError(f"--attempt: no attempt {number}: use {known}")
    newest = number == stage.attempts
    name = stage.child.name if newest else child_name(job.name, stage.name, stage.fingerprint, number)
    active = newest and stage.state is StageState.RUNNING
    return Source(f"attempt {number} of {stage.name}", name, _CONTAINERS[stage.child.kind], active)


def _stage(job: JobObject, name: str) -> StageStatus:
    stages = {stage.name: stage for stage in job.status.stages}
    if not stages:
        raise failed(f"{job.name}: has no stages yet: the operator has not planned it")
    if name not in stages:
        raise InputError(f"STAGE: no stage {name!r}: use one of {', '.join(stages)}")
    return stages[name]


async def _started(connection: Connection, wanted: Wanted, *, wait: bool) -> tuple[str, str]:
    """Name of the node's pod and of its container, once that has started."""
    told = ""
    while True:
        source = source_of(await connection.read(), wanted)
        pods, _ = await connection.cluster.list(PODS, connection.namespace, f"{JOB_LABEL}={connection.name}")
        pod = _pod(pods, source, wanted.node)
        if pod is not None and has_started(pod, source.container):
            return str(pod["metadata"]["name"]), source.container
        why = f"{source.title} has not started: {why_waiting(pod, source.container) if pod else 'it has no pod yet'}"
        if not wait or not source.active:
            raise failed(why)
        if why != told:
            remark(why)
            told = why
        await asyncio.sleep(_POLL_SECONDS)


def _pod(pods: Sequence[Raw], source: Source, node: int) -> Raw | None:
    """The node's pod; None where pods are yet to come."""
    nodes = pods_by_node(pods, source.child)
    if node in nodes:
        return nodes[node]
    started = bool(nodes) and all(has_started(pod, source.container) for pod in nodes.values())
    if source.active and not started:
        return None
    if not nodes:
        raise failed(f"{source.title}: its pods are gone, and their logs with them: look into the cluster's log store")
    known = ", ".join(map(str, sorted(nodes)))
    raise InputError(f"--node: {source.title} has no pod of node {node}: use one of {known}")

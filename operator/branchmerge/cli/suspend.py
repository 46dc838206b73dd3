"""`branchmerge suspend` and `branchmerge resume`: stop a job on a cluster after a checkpoint, and go on from there."""

from __future__ import annotations

from typing import Annotated

import typer

from branchmerge.api.errors import InputError
from branchmerge.cli.options import ClusterOption, ContextOption, JobArgument, NamespaceOption
from branchmerge.cli.place import RemoteJob, locate
from branchmerge.local.lock import holder
from branchmerge.local.opening import Opening

_DEFAULT_TIMEOUT_SECONDS = 600

WaitOption = Annotated[bool, typer.Option("--wait", help="Return when the job stands so, not when it was asked to.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="Longest wait.")]


def suspend(
    job: JobArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = _DEFAULT_TIMEOUT_SECONDS,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Stop every stage of a job on a cluster after a checkpoint, and free what it holds. Sets spec.suspend.

    Example: branchmerge suspend tinyr1-32b -n team-a --wait
    """
    place = locate(job, cluster=cluster, context=context, namespace=namespace)
    if not isinstance(place, RemoteJob):
        worker = holder(Opening.of(place, None).folder.lock)
        stop = f"stop it after a checkpoint with Ctrl-C or `kill {worker}`" if worker else "no run works on it"
        raise InputError(f"{job}: jobs on a cluster are suspended (add --cluster); of a local run: {stop}")
    _set(place, suspended=True, wait=wait, timeout=timeout)


def resume(
    job: JobArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = _DEFAULT_TIMEOUT_SECONDS,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Let a suspended job on a cluster go on from its last checkpoints. Clears spec.suspend.

    Example: branchmerge resume tinyr1-32b -n team-a
    """
    place = locate(job, cluster=cluster, context=context, namespace=namespace)
    if not isinstance(place, RemoteJob):
        raise InputError(
            f"{job}: jobs on a cluster are resumed (add --cluster); a local run goes on with branchmerge run {job}"
        )
    _set(place, suspended=False, wait=wait, timeout=timeout)


def _set(place: RemoteJob, *, suspended: bool, wait: bool, timeout: float) -> None:
    from branchmerge.cli.remote.suspension import set_suspended  # late: the Kubernetes client is an extra

    set_suspended(place, suspended=suspended, wait_seconds=timeout if wait else None)

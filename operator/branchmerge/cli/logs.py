"""`branchmerge logs`: what a stage printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from branchmerge.api.errors import InputError
from branchmerge.cli.console import Exit, remark
from branchmerge.cli.options import (
    ClusterOption,
    ContextOption,
    JobArgument,
    NamespaceOption,
    StageArgument,
    WorkspaceOption,
)
from branchmerge.cli.place import RemoteJob, locate
from branchmerge.core.model import Attempt
from branchmerge.local.attempts import AttemptStore
from branchmerge.local.environment import NodeFiles
from branchmerge.local.layout import RunFolder
from branchmerge.local.opening import Opening
from branchmerge.local.view import attempts_of

_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.3


def logs(
    job: JobArgument,
    stage: StageArgument,
    workspace: WorkspaceOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    node: Annotated[int, typer.Option(min=0, metavar="N", help="Node of the attempt.")] = 0,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of the attempt. Default: the newest.")
    ] = None,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Print the log of a stage's newest attempt.

    Examples: branchmerge logs distillation.yaml train/math -f; branchmerge logs tinyr1-32b train/math -n team-a
    """
    place = locate(job, cluster=cluster, context=context, namespace=namespace, workspace=workspace)
    if isinstance(place, RemoteJob):
        from branchmerge.cli.remote.logs import Wanted, print_log  # late: the Kubernetes client is an extra

        print_log(place, Wanted(stage, attempt, node), follow=follow)
        return
    opening = Opening.of(place, workspace)
    if stage not in (names := opening.stage_names()):
        raise InputError(f"STAGE: no stage {stage!r}: use one of {', '.join(names)}")
    attempts = [each for each in attempts_of(opening.folder) if each.stage == stage]
    if not attempts:
        remark(f"{stage} has not started in {opening.folder.root}")
        raise typer.Exit(Exit.JOB_FAILED)
    chosen = _choose(attempts, attempt)
    path = NodeFiles.of(AttemptStore(opening.folder.attempts).folder(chosen.child_name), node).log
    if not path.exists():
        raise InputError(f"--node: attempt {chosen.number} of {stage} has no node {node}: leave the option out")
    for chunk in _chunks(path, opening.folder, chosen.child_name, follow=follow):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _choose(attempts: Sequence[Attempt], number: int | None) -> Attempt:
    """The newest attempt, or the newest with this number (numbers begin anew with each fingerprint)."""
    matching = [each for each in attempts if number is None or each.number == number]
    if not matching:
        known = ", ".join(sorted({str(each.number) for each in attempts}))
        raise InputError(f"--attempt: no attempt {number}: use one of {known}")
    return matching[-1]


def _chunks(path: Path, folder: RunFolder, child: str, *, follow: bool) -> Iterator[bytes]:
    """The file's bytes; where it is followed, until the attempt has ended and all is read."""
    with path.open("rb") as stream:
        while True:
            active = follow and any(each.active for each in attempts_of(folder) if each.child_name == child)
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
            if not active:
                return
            time.sleep(_POLL_SECONDS)

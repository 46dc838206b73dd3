"""Starts, recognises and ends the processes of an attempt.

Every process of an attempt inherits an environment variable that holds the attempt's folder. By it they are found
wherever they went: the elastic agent puts each rank into a session of its own, out of reach of a signal to the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from pydantic import Field

from branchmerge.api.base import RecordModel

MARK_ENV = "BRANCHMERGE_ATTEMPT"
"""Holds the folder of the attempt that a process belongs to."""
NODE_ENV = "BRANCHMERGE_NODE"
"""Holds the number of the node that a process belongs to."""

_CLOCK_TOLERANCE_SECONDS = 1.0
"""The kernel tells a start since boot; as a time of day it moves a little when the clock is corrected."""
_SWEEP_SECONDS = 10.0
_SWEEP_PAUSE_SECONDS = 0.02


class ProcessRef(RecordModel):
    """A process, told apart from a later one with the same number by when it was created."""

    pid: int
    created_at: float = Field(description="Seconds since 1970.")


def start(command: Sequence[str], environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process as leader of a session and group of its own; it appends to `log` and reads nothing.

    Raises OSError where the system refuses.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def refer(pid: int) -> ProcessRef | None:
    """A lasting reference to a process that exists, None where it is gone."""
    try:
        return ProcessRef(pid=pid, created_at=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def alive(process: ProcessRef) -> bool:
    """Whether it still runs. One that ended but was not reaped by whoever adopted it does not."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created_at) <= _CLOCK_TOLERANCE_SECONDS
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def signal_group(process: ProcessRef, number: signal.Signals) -> None:
    """Send a signal to the process's group; nothing where the process is gone."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def marked(folder: Path) -> Iterator[psutil.Process]:
    """Every live process of this user that belongs to the attempt in `folder`."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK_ENV) == str(folder):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # ended meanwhile, or somebody else's


def leaders(folder: Path) -> dict[int, ProcessRef]:
    """The processes of the attempt that `start` started, as far as they live, by node."""
    found = {}
    for process in marked(folder):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == process.pid and not _has_marked_parent(process, folder):
                node = int(process.environ().get(NODE_ENV, 0))
                found[node] = ProcessRef(pid=process.pid, created_at=process.create_time())
    return found


def sweep(folder: Path) -> int:
    """Kill every process of the attempt until none is left, and return how many there were.

    Raises OSError where one does not die (it hangs in the kernel, on a dead disk for example).
    """
    until = time.monotonic() + _SWEEP_SECONDS
    killed: set[int] = set()
    while victims := list(marked(folder)):
        for process in victims:
            killed.add(process.pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(_SWEEP_PAUSE_SECONDS)  # not psutil's wait: it would take the exit code from whoever waits for it
        if time.monotonic() > until:
            numbers = ", ".join(str(process.pid) for process in victims)
            raise OSError(f"processes {numbers} of {folder.name} do not die: end them before the next run")
    return len(killed)


def _has_marked_parent(process: psutil.Process, folder: Path) -> bool:
    """Whether it was started by another process of the attempt: a rank, not a launcher."""
    try:
        parent = process.parent()
        return parent is not None and parent.environ().get(MARK_ENV) == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False

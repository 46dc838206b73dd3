"""One `branchmerge run` a folder: a lock that the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from branchmerge.api.errors import InputError

_PATIENCE_SECONDS = 1.0
"""`branchmerge status` holds the lock for an instant to see whether it is free."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock for the duration of the block. Raises InputError that says who holds it already."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _acquire(descriptor, time.monotonic() + _PATIENCE_SECONDS):
            holder = _pid(descriptor)
            raise InputError(
                f"{path.parent}: another `branchmerge run` (process {holder or 'unknown'}) works here: wait for it, "
                f"stop it with `kill {holder or 'PID'}`, or choose another folder with --workspace"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """The process that holds the lock, None where it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _acquire(descriptor: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        else:
            return True


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None

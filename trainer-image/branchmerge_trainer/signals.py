"""SIGTERM as a flag that work looks at between two steps, and a process that dies with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

from branchmerge_trainer.failures import Interrupted

_PR_SET_PDEATHSIG = 1
_AT_ONCE = "stopped on request; finished work is kept"


class StopFlag:
    """Set by SIGTERM, SIGINT or SIGHUP.

    Work whose ranks must agree on a step looks at `requested`, saves, and raises `Interrupted` itself. All other work
    can stop anywhere, because what it has finished is kept: there the signal raises `Interrupted` at once.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.requested = False
        self._at_once = at_once

    def install(self) -> None:
        """Take the signals of this process over."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise `Interrupted` if the process was told to stop.

        A library may have swallowed the exception of the signal itself: what is raised within a destructor, for one, is
        lost.
        """
        if self.requested:
            raise Interrupted(_AT_ONCE)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if self._at_once and first:
            raise Interrupted(_AT_ONCE)


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent dies, so that no rank outlives its launcher. Linux only.

    `parent` is the process id of a parent that may be dead already; this process is then killed at once.
    """
    parent = parent or os.getppid()
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)

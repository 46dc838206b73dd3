"""Watches a program's process until it ends, and ends it where it goes beyond what no kernel limit counts."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from branchmerge_trainer.sandbox.program import Ending, Limits

_POLL_SECONDS = 0.02
_SIGNAL_ENDINGS: dict[int, Ending] = {signal.SIGXCPU: Ending.TIMED_OUT, signal.SIGXFSZ: Ending.TOO_MUCH_OUTPUT}


@dataclass(frozen=True, slots=True)
class Watched:
    """A program's process, which has a session of its own, and what belongs to it."""

    pid: int
    folder: Path
    outputs: tuple[int, ...]
    """Open files of its standard output and error."""
    limits: Limits

    def wait(self, abandoned: int) -> tuple[Ending, int]:
        """Wait until it has ended, and reap it. Returns why it ended, and its code or negative signal.

        `abandoned`: a socket at whose end nobody waits for the program any more once it can be read.
        """
        started = time.monotonic()
        handle = os.pidfd_open(self.pid)
        try:
            verdict = self._until_it_ends(handle, abandoned, started + self.limits.wall_seconds)
        finally:
            os.close(handle)
        os.kill(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it may not have come as far as a session of its own
            os.killpg(self.pid, signal.SIGKILL)
        _pid, status, usage = os.wait4(self.pid, 0)
        kill_descendants()
        code = os.waitstatus_to_exitcode(status)
        return verdict or self._ending(code, usage.ru_utime + usage.ru_stime), code

    def _until_it_ends(self, handle: int, abandoned: int, deadline: float) -> Ending | None:
        """None where it ended by itself, or is not wanted any more."""
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(abandoned, select.POLLIN)
        while True:
            remaining = deadline - time.monotonic()
            if poller.poll(1000 * max(0.0, min(remaining, _POLL_SECONDS))):
                return None
            if remaining <= 0:
                return Ending.TIMED_OUT
            with suppress(FileNotFoundError):  # it has just ended, or removed a file
                if excess := self._excess():
                    return excess

    def _excess(self) -> Ending | None:
        if any(os.fstat(output).st_size >= self.limits.output_bytes for output in self.outputs):
            return Ending.TOO_MUCH_OUTPUT
        entries = list(os.scandir(self.folder))
        size = sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in entries)
        if len(entries) > self.limits.files or size > self.limits.disk_bytes:
            return Ending.TOO_MUCH_DISK
        threads = os.listdir(f"/proc/{self.pid}/task")  # noqa: PTH208 - names suffice
        return Ending.TOO_MANY_THREADS if len(threads) > self.limits.threads else None

    def _ending(self, code: int, cpu_seconds: float) -> Ending:
        if code >= 0:
            return Ending.EXITED
        if code == -signal.SIGKILL and cpu_seconds >= self.limits.cpu_seconds:
            return Ending.TIMED_OUT
        return _SIGNAL_ENDINGS.get(-code, Ending.KILLED)


def kill_descendants() -> None:
    """Kill and reap what is left of this process's descendants, which it adopts; there are none under seccomp."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

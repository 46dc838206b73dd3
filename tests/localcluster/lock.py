"""One cluster of a name at a time on a machine, and nobody ends it while others use it.

The kernel takes the lock back when its holder dies.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from localcluster.errors import ClusterError
from localcluster.progress import say

LOCKS = Path("/run/lock")
WAIT_SECONDS = 3_600
POLL_SECONDS = 0.5


class MachineLock:
    """The machine's lock of a name: held alone to start or end a cluster, together to use it."""

    def __init__(self, name: str, file: TextIO) -> None:
        self.name = name
        self._file = file

    def try_alone(self) -> bool:
        """Hold it alone, if nobody else holds it. Where somebody does, it is not held at all any more."""
        return self._taken(fcntl.LOCK_EX)

    def alone(self, wait: float = WAIT_SECONDS) -> None:
        """Hold it alone; wait for whoever holds it, `wait` seconds at most.

        Raises:
            ClusterError: somebody else still holds it after that time.
        """
        self._wait(fcntl.LOCK_EX, wait)

    def together(self, wait: float = WAIT_SECONDS) -> None:
        """Hold it together with others; wait for whoever holds it alone, `wait` seconds at most.

        Raises:
            ClusterError: somebody else still holds it alone after that time.
        """
        self._wait(fcntl.LOCK_SH, wait)

    def release(self) -> None:
        """Hold it no more."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _wait(self, operation: int, wait: float) -> None:
        if self._taken(operation):
            return
        say(f"{self.name} is in use by {self._holder()}; waiting for it to end")
        deadline = time.monotonic() + wait
        while not self._taken(operation):
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name} is still in use by {self._holder()} after {wait:.0f} s")
            time.sleep(POLL_SECONDS)

    def _taken(self, operation: int) -> bool:
        """Take it at once or not at all. Going from one way of holding it to the other, it is let go of in between."""
        try:
            fcntl.flock(self._file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} ({' '.join(sys.argv)[:200]})")
        self._file.flush()
        return True

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read() or "another process"


@contextmanager
def machine_lock(name: str) -> Iterator[MachineLock]:
    """The machine's lock of a name, not held yet; it is released at the end."""
    with (LOCKS / f"{name}.lock").open("a+") as file:
        yield MachineLock(name, file)

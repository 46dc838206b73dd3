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


@contextmanager
def machine_lock(name: str, *, shared: bool = False, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the machine's lock of that name; wait for whoever holds it, `wait` seconds at most.

    Args:
        name: of the cluster.
        shared: hold it together with others who only use the cluster; without it alone, to start or end the cluster.
        wait: seconds.

    Raises:
        ClusterError: somebody else still holds it after that time.
    """
    with (LOCKS / f"{name}.lock").open("a+") as file:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if not _taken(file, operation):
            say(f"{name} is in use by {_holder(file)}; waiting for it to end")
            deadline = time.monotonic() + wait
            while not _taken(file, operation):
                if time.monotonic() > deadline:
                    raise ClusterError(f"{name} is still in use by {_holder(file)} after {wait:.0f} s")
                time.sleep(0.5)
        file.truncate(0)
        file.write(f"process {os.getpid()} ({' '.join(sys.argv)[:200]})")
        file.flush()
        yield


def _taken(file: TextIO, operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read() or "another process"

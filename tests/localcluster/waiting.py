"""Waiting for what becomes true in its own time."""

import time
from collections.abc import Callable
from typing import TypeVar

from localcluster.errors import ClusterError
from localcluster.reading import ReadError
from localcluster.shell import CommandError

T = TypeVar("T")


def until(what: str, probe: Callable[[], T], *, timeout: float, interval: float = 0.2) -> T:
    """Call `probe` until it returns something true, and return that.

    A program that ends with an error, and an API server that gives no answer, count as "not yet".

    Args:
        what: completes the sentence "waited … s for".
        probe: what to call.
        timeout: seconds in all.
        interval: seconds between two calls.

    Raises:
        ClusterError: `timeout` passed; the message has the last error, if there was one.
    """
    deadline = time.monotonic() + timeout
    last: ClusterError | None = None
    while True:
        try:
            if found := probe():
                return found
            last = None
        except (CommandError, ReadError) as error:
            last = error
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout:.0f} s for {what}{f': {last}' if last else ''}") from last
        time.sleep(interval)

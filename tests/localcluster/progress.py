"""Lines that tell a waiting person what happens, on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    """Print one line."""
    print(f"cluster: {line}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str, *, hint: str = "") -> Iterator[None]:
    """Announce a step that takes a while, and say how many seconds it took; `hint` tells what to expect."""
    say(f"{what} …{hint and f' ({hint})'}")
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")

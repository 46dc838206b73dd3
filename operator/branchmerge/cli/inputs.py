"""Resolves a job's inputs, and says so where that takes long: tens of gigabytes are read once."""

from __future__ import annotations

import sys
import time

from branchmerge.cli.words import size
from branchmerge.local.opening import Opening

_PAUSE_SECONDS = 2.0


def resolve_inputs(opening: Opening) -> dict[str, str]:
    """What every input is at this moment; see `Opening.resolve`."""
    return opening.resolve(_Announcer())


class _Announcer:
    """Says on standard error how far reading is, every two seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        if time.monotonic() - self._last >= _PAUSE_SECONDS:
            self._last = time.monotonic()
            print(f"reading {name}: {size(done)} of {size(total)}", file=sys.stderr, flush=True)

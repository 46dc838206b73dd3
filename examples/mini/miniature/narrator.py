"""Tells whoever waits what goes on: never a silence of more than two seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE_SECONDS = 2.0


class Narrator:
    """Prints lines, each with the seconds since the first."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    @property
    def is_due(self) -> bool:
        """Whether the last line is long enough ago for another one of the same kind."""
        return time.monotonic() - self._last >= PAUSE_SECONDS

    def say(self, text: str) -> None:
        """Print a line at once."""
        self._last = time.monotonic()
        print(f"[{self.seconds:4.0f} s] {text}", flush=True)

    @contextmanager
    def during(self, text: str) -> Iterator[None]:
        """Say what is done meanwhile, and that it still is."""
        over = threading.Event()

        def remind() -> None:
            while not over.wait(PAUSE_SECONDS):
                self.say(f"… still {text}")

        reminder = threading.Thread(target=remind, daemon=True)
        self.say(text)
        reminder.start()
        try:
            yield
        finally:
            over.set()
            reminder.join()

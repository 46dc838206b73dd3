"""Keys that wait to be worked on: each at most once in the queue, never by two workers at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")

_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0


class WorkQueue(Generic[Key]):
    """A de-duplicating queue with delays and a backoff for each key that failed."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        """In `_ready`."""
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        """Added while being worked on: queued once the work is done."""
        self._timers: dict[Key, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as may be."""
        self._cancel_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key worked on after a while, unless it is before."""
        due = time.monotonic() + seconds
        if key in self._timers and self._timers[key][0] <= due:
            return
        self._cancel_timer(key)
        handle = asyncio.get_running_loop().call_later(max(0.0, seconds), self.add, key)
        self._timers[key] = (due, handle)

    async def work(
        self, function: Callable[[Key], Awaitable[None]], on_error: Callable[[Key, Exception], float | None]
    ) -> None:
        """Work on keys until cancelled. A key whose work raised is tried again after its backoff.

        `on_error` may return the seconds that it must wait at least.
        """
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._working.add(key)
            try:
                await function(key)
                self._failures.pop(key, None)
            except Exception as error:  # a worker outlives whatever one job brings
                asked = on_error(key, error)
                self.add_after(key, max(self._backoff(key), asked or 0.0))
            finally:
                self._working.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key whose object is gone."""
        self._cancel_timer(key)
        self._failures.pop(key, None)

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 16), _LONGEST_BACKOFF_SECONDS)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()

"""Many requests at once for whoever takes their results one by one, in order.

Requests run in an event loop in a thread of its own, so that they go on while a result is worked on, and the main
thread is free for signals.

Items may be the results of another such flow. Whoever waits for those waits within both, and hears of errors of both.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Thread, local
from types import TracebackType
from typing import Any, Self, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TICK_SECONDS = 0.25
_STOP_SECONDS = 5.0
"""Connections that are not closed until then end with the process."""


def in_order(
    items: Iterable[_Item],
    work: Callable[[_Item], Coroutine[Any, Any, _Result]],
    *,
    window: int,
    tick: Callable[[], None],
    close: Callable[[], Awaitable[None]],
) -> Iterator[tuple[_Item, _Result]]:
    """Yield each item with the result of its work, in the order of `items`, of which `window` are worked on at most.

    `tick` is called in the caller's thread, some times a second; `close` in the loop's thread, at the end. The first
    error of any work is raised at once; while items are taken, with the next one, or within the wait for it where it
    comes from such a flow. However it ends, all work ends with it.
    """
    with _Loop(close, tick) as loop:
        pending: deque[tuple[_Item, Future[_Result]]] = deque()
        for item in items:
            pending.append((item, loop.start(work(item))))
            loop.look()
            if len(pending) >= window:
                yield loop.finished(*pending.popleft())
        while pending:
            yield loop.finished(*pending.popleft())


class _Open(local):
    """The loops that the results of a thread come from, which may come from one another."""

    def __init__(self) -> None:
        self.loops: list[_Loop] = []


_OPEN = _Open()


class _Loop:
    """An event loop in a thread."""

    def __init__(self, close: Callable[[], Awaitable[None]], tick: Callable[[], None]) -> None:
        self._close = close
        self._tick = tick
        self._ticked_at = float("-inf")
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="requests", daemon=True)
        self.failed: Future[None] = Future()
        """Has the first error of any work."""
        self._open = _OPEN.loops

    def __enter__(self) -> Self:
        self._open.append(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.remove(self)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)

    def start(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Begin with a work."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(self._note_failure)
        return future

    def finished(self, item: _Item, future: Future[_Result]) -> tuple[_Item, _Result]:
        """The item and its result. Raises the first error of any work, also of a flow that waits for this one."""
        while True:
            for each in self._open:
                each.look()
            if future.done():
                return item, future.result()
            awaited: list[Future[Any]] = [future, *(each.failed for each in self._open)]
            wait(awaited, _TICK_SECONDS, FIRST_COMPLETED)

    def look(self) -> None:
        """Tick if it is time to. Raises the first error of any work."""
        self._tick_if_due()
        if self.failed.done():
            self.failed.result()

    def _tick_if_due(self) -> None:
        now = time.monotonic()
        if now - self._ticked_at >= _TICK_SECONDS:
            self._ticked_at = now
            self._tick()

    def _note_failure(self, future: Future[Any]) -> None:
        if future.cancelled() or self.failed.done():
            return
        if (error := future.exception()) is not None:
            self.failed.set_exception(error)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

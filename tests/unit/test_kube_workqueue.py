"""The queue of keys: no key twice, no key by two workers, backoff for those that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from branchmerge.kube.workqueue import WorkQueue


async def drain(
    queue: WorkQueue[str], function: Callable[[str], object], seconds: float, workers: int = 2
) -> list[str]:
    """Work for a while; returns the keys whose work failed."""
    failed: list[str] = []

    async def work(key: str) -> None:
        result = function(key)
        if asyncio.iscoroutine(result):
            await result

    tasks = [asyncio.create_task(queue.work(work, lambda key, _error: failed.append(key))) for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return failed


def test_a_key_that_waits_is_queued_once() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in ("a", "a", "b", "a"):
            queue.add(key)
        await drain(queue, seen.append, 0.05)

    asyncio.run(scenario())
    assert seen == ["a", "b"]


def test_a_key_added_while_it_is_worked_on_is_worked_on_again_and_never_twice_at_a_time() -> None:
    running = most = runs = 0

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()

        async def work(key: str) -> None:
            nonlocal running, most, runs
            running, runs = running + 1, runs + 1
            most = max(most, running)
            if runs < 5:
                queue.add(key)
                queue.add(key)
            await asyncio.sleep(0.01)
            running -= 1

        queue.add("a")
        await drain(queue, work, 0.2, workers=4)

    asyncio.run(scenario())
    assert (most, runs) == (1, 5)


def test_a_failed_key_comes_back_after_its_backoff_and_others_go_on() -> None:
    seen: list[str] = []

    def work(key: str) -> None:
        seen.append(key)
        if key == "bad":
            raise ValueError(key)

    async def scenario() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("bad")
        queue.add("good")
        return await drain(queue, work, 0.7)

    failed = asyncio.run(scenario())
    assert failed == ["bad", "bad"]
    assert seen == ["bad", "good", "bad"]


def test_the_earliest_of_several_delays_counts() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 30)
        queue.add_after("a", 0.02)
        queue.add_after("a", 60)
        await drain(queue, seen.append, 0.1)
        queue.add_after("a", 30)
        queue.forget("a")

    asyncio.run(scenario())
    assert seen == ["a"]

"""How fast an endpoint is asked: requests and tokens a minute, and the pauses that it asks for."""

from __future__ import annotations

import asyncio

from aiolimiter import AsyncLimiter

from branchmerge.api.endpoint import EndpointLimits
from branchmerge_trainer.curate.teacher.reply import Usage
from branchmerge_trainer.curate.teacher.request import Request


class Pace:
    """Holds requests back. Tries count as requests, also those that fail."""

    def __init__(self, limits: EndpointLimits) -> None:
        self._requests = _limiter(limits.requests_per_minute)
        self._tokens = _limiter(limits.tokens_per_minute)
        self._not_before = 0.0
        self._answers = self._completion_tokens = 0

    async def take(self, request: Request) -> None:
        """Wait until a request may be sent. Its answer counts as long as those before it were in the mean."""
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            tokens = request.prompt_tokens
            tokens += self._completion_tokens // self._answers if self._answers else request.drawing.max_tokens
            while tokens > 0:  # a long answer takes more than fits into the bucket at once
                part = min(tokens, int(self._tokens.max_rate))
                await self._tokens.acquire(part)
                tokens -= part
        loop = asyncio.get_running_loop()
        while (seconds := self._not_before - loop.time()) > 0:
            await asyncio.sleep(seconds)

    def answered(self, usage: Usage) -> None:
        """An answer has been that long."""
        self._answers += 1
        self._completion_tokens += usage.completion_tokens

    def pause(self, seconds: float) -> None:
        """Nothing is sent for so long: an endpoint that is overloaded is so for every request."""
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)


def _limiter(per_minute: int | None) -> AsyncLimiter | None:
    """A bucket of one second's worth, so that no minute has more than the limit and that second."""
    if per_minute is None:
        return None
    at_once = max(1.0, per_minute // 60)
    return AsyncLimiter(at_once, 60.0 * at_once / per_minute)

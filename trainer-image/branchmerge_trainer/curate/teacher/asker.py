"""Has one endpoint answer many requests, within its limits; every answer is in the log before anybody hears of it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

from branchmerge.api.endpoint import Endpoint
from branchmerge_trainer.curate.teacher.budget import Budget, cost_of
from branchmerge_trainer.curate.teacher.connection import Connection, RefusedError, RetryableError
from branchmerge_trainer.curate.teacher.health import Health
from branchmerge_trainer.curate.teacher.keys import Key
from branchmerge_trainer.curate.teacher.log import AnswerLog, Entry
from branchmerge_trainer.curate.teacher.pace import Pace
from branchmerge_trainer.curate.teacher.reply import Reply, Usage
from branchmerge_trainer.curate.teacher.request import Failure, Request
from branchmerge_trainer.curate.teacher.retries import wait_seconds

BUDGET_SPENT = "budget spent"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the asking is. Answers and failures are those of this attempt's prompts; spending is of all attempts."""

    answered: int
    """Answers that are there, those of earlier attempts included."""
    failed: int
    """Requests without an answer, those that the budget did not allow included."""
    new_tokens: int
    """Of answers that came in this attempt, prompts included."""
    spent: Usage
    cost: Decimal
    """In `currency`."""
    currency: str | None
    """None where there are no prices."""
    trouble: str | None = None
    """What the endpoint does instead of answering, in few words; None where it answers."""


class Asker:
    """Asks an endpoint. All but `standing`, `check` and `conclude` belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, key: str | None, log: AnswerLog, field: str) -> None:
        """`key` is sent to the endpoint and nowhere else; `field` is what messages call the endpoint."""
        self._endpoint = endpoint
        self._log = log
        self._connection = Connection(endpoint, key)
        self._health = Health(endpoint, field, has_answered=len(log) > 0)
        self._budget = Budget(endpoint.limits, endpoint.prices, log.spent)
        self._pace = Pace(endpoint.limits)
        self._slots = asyncio.Semaphore(endpoint.limits.concurrency)
        self._running: dict[Key, asyncio.Task[Failure | None]] = {}
        self._jitter = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._answered = self._failed = self._new_tokens = 0

    @property
    def standing(self) -> Standing:
        """How far it is."""
        prices = self._endpoint.prices
        return Standing(
            self._answered,
            self._failed,
            self._new_tokens,
            self._budget.spent,
            self._budget.cost,
            None if prices is None else prices.currency,
            self._health.trouble,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    def check(self) -> None:
        """Raises TransientError where nobody listens at the endpoint. To be called again and again."""
        self._health.check()

    def conclude(self) -> None:
        """Nothing more is asked. Raises TransientError where the endpoint has never answered anything."""
        self._health.conclude()

    async def ask(self, request: Request) -> Failure | None:
        """None once the answer is in the log, asked now or earlier; else why there is none.

        Equal requests at the same time are asked once. Raises InputError and TransientError where it makes no sense to
        ask this endpoint any further.
        """
        failure = None if request.key in self._log else await self._shared(request)
        if failure is None:
            self._answered += 1
        else:
            self._failed += 1
        return failure

    async def _shared(self, request: Request) -> Failure | None:
        running = self._running.get(request.key)
        if running is None:
            running = self._running[request.key] = asyncio.create_task(self._limited(request))
            running.add_done_callback(lambda _task: self._running.pop(request.key))
        return await running

    async def _limited(self, request: Request) -> Failure | None:
        most = Usage(request.prompt_tokens, request.drawing.max_tokens)
        async with self._slots:
            if not await self._budget.reserve(most):
                return Failure(BUDGET_SPENT)
            try:
                return await self._tried(request)
            finally:
                await self._budget.release(most)

    async def _tried(self, request: Request) -> Failure | None:
        answers_before = self._health.answers
        for tries in count(1):
            await self._pace.take(request)
            try:
                reply = await self._connection.ask(request, self._health.accepted)
            except RefusedError as refused:
                failure = Failure("refused", str(refused))
                self._note_failure(request, failure, Usage())
                self._health.refused(refused.status, refused.said)
                return failure
            except RetryableError as fault:
                failure = Failure(fault.fault, fault.detail)
                self._health.faulted(failure, connected=fault.connected)
                is_last = tries > self._endpoint.retries
                if is_last or fault.usage.tokens:
                    self._note_failure(request, failure, fault.usage)
                if is_last:
                    self._health.gave_up(failure, answers_before)
                    return failure
                if fault.after is not None:
                    self._pace.pause(fault.after)
                await asyncio.sleep(wait_seconds(tries, fault.after, self._jitter))
            else:
                self._note_answer(request, reply)
                return None
        raise AssertionError("counted without end")

    def _note_answer(self, request: Request, reply: Reply) -> None:
        usage = reply.usage or request.usage(len(reply.content) + len(reply.reasoning or ""))
        entry = Entry(
            **self._noted(request, usage),
            model=reply.model,
            finish_reason=reply.finish_reason,
            reasoning=reply.reasoning,
            answer=reply.content,
        )
        self._log.append(entry)
        self._health.answered()
        self._pace.answered(usage)
        self._new_tokens += usage.tokens

    def _note_failure(self, request: Request, failure: Failure, usage: Usage) -> None:
        self._log.append(Entry(**self._noted(request, usage), fault=failure.reason, detail=failure.detail))

    def _noted(self, request: Request, usage: Usage) -> dict[str, Any]:
        """What every entry has; the budget counts it."""
        self._budget.spend(usage)
        prices = self._endpoint.prices
        return {
            "prompt": request.key.prompt,
            "sample": request.key.sample,
            "seed": request.drawing.seed,
            "usage": usage,
            "cost": f"{cost_of(usage, prices):f}",
            "currency": None if prices is None else prices.currency,
        }

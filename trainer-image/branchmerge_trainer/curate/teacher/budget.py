"""What may still be spent on an endpoint. Requests in flight count with the most that they can cost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from branchmerge.api.endpoint import EndpointLimits, Prices
from branchmerge_trainer.curate.teacher.reply import Usage

_MILLION = Decimal(1_000_000)


def cost_of(usage: Usage, prices: Prices | None) -> Decimal:
    """In the currency of the prices; 0 without any."""
    if prices is None:
        return Decimal(0)
    in_price, out_price = Decimal(prices.input_per_million), Decimal(prices.output_per_million)
    return (usage.prompt_tokens * in_price + usage.completion_tokens * out_price) / _MILLION


class Budget:
    """Tokens and money of one log, over all attempts. Prices are today's, also for what was asked earlier."""

    def __init__(self, limits: EndpointLimits, prices: Prices | None, spent: Usage) -> None:
        self._limits = limits
        self._prices = prices
        self._reserved = Usage()
        self._changed = asyncio.Condition()
        self.spent = spent

    @property
    def cost(self) -> Decimal:
        """Of all that was spent."""
        return cost_of(self.spent, self._prices)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be asked."""
        return not self._holds(self.spent + Usage(0, 1))

    async def reserve(self, most: Usage) -> bool:
        """Set the most aside that a request can use; False where the budget is spent. `release` gives it back.

        Waits as long as requests in flight may use up what this one needs. One request may always be in flight while
        something is left, so that a budget smaller than the longest answer is used, too.
        """
        async with self._changed:
            while not self.is_spent:
                if self._reserved == Usage() or self._holds(self.spent + self._reserved + most):
                    self._reserved += most
                    return True
                await self._changed.wait()
        return False

    async def release(self, most: Usage) -> None:
        """The request has ended; what it used is told to `spend`."""
        self._reserved += Usage(-most.prompt_tokens, -most.completion_tokens)
        async with self._changed:
            self._changed.notify_all()

    def spend(self, usage: Usage) -> None:
        """Count what a request has used."""
        self.spent += usage

    def _holds(self, usage: Usage) -> bool:
        limits = self._limits
        if limits.max_tokens is not None and usage.tokens > limits.max_tokens:
            return False
        return limits.max_cost is None or cost_of(usage, self._prices) <= Decimal(limits.max_cost.amount)

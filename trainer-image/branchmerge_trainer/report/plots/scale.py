"""Axes: where a value lies between two round numbers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

_LOG_FROM = 8.0
"""Ratio of the largest to the smallest value from which a logarithmic axis shows more than a linear one."""


@dataclass(frozen=True)
class Scale:
    """An axis from its first tick to its last."""

    ticks: tuple[float, ...]
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Share (0-1) of the axis at which the value lies; beyond the ends it is the end."""
        low, high, value = (self._even(each) for each in (self.ticks[0], self.ticks[-1], value))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def _even(self, value: float) -> float:
        return math.log(max(value, self.ticks[0])) if self.logarithmic else value


def linear(values: Collection[float], count: int = 5) -> Scale:
    """About `count` steps between round numbers (1, 2 or 5 times a power of ten apart) that hold all values."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    step = _round_up(span / count, (1, 2, 5, 10))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(tuple(round(index * step, 12) for index in range(first, max(last, first + 1) + 1)))


def logarithmic(values: Collection[float]) -> Scale:
    """Ticks at 1, 2 and 5 times powers of ten that hold all values, which must be positive."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ticks = [round(factor * 10.0**power, 12 - power) for power in powers for factor in (1, 2, 5)]
    first = max(index for index, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(index for index, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return Scale(tuple(ticks[first : max(last, first + 1) + 1]), logarithmic=True)


def fitting(values: Collection[float]) -> Scale:
    """Logarithmic where all values are positive and far apart, else linear from zero or below."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOG_FROM:
        return logarithmic(values)
    return linear([*values, 0.0])


def _round_up(value: float, factors: Collection[int]) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in factors if factor * power >= value * (1 - 1e-9))

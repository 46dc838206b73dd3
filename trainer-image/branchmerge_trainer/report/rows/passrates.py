"""How many of each prompt's answers are right, in few columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from branchmerge_trainer.report.curation import PassRates

_MOST_SAMPLES = 10
"""Answers a prompt up to which each number of right ones has a column of its own."""
_BANDS = ("none", "<20%", "20–39%", "40–59%", "60–79%", "≥80%", "all")


@dataclass(frozen=True)
class Column:
    """Prompts with about the same pass rate."""

    label: str
    prompts: int
    share: float
    """Of all prompts (0-1)."""


def columns(rates: PassRates) -> list[Column]:
    """From none right to all right; empty where nothing was judged.

    A column for each number of right answers where every prompt has equally many answers, and not too many; else bands
    of rates, in which none and all stand apart.
    """
    samples = rates.samples
    exact = range(samples + 1) if samples is not None and samples <= _MOST_SAMPLES else None
    labels = _BANDS if exact is None else list(map(str, exact))
    counts: Counter[int] = Counter()
    for right, of, prompts in rates.histogram:
        counts[_band(right, of) if exact is None else right] += prompts
    total = counts.total()
    return [Column(label, counts[index], counts[index] / total) for index, label in enumerate(labels)] if total else []


def _band(right: int, of: int) -> int:
    if right == 0:
        return 0
    return len(_BANDS) - 1 if right >= of else 1 + 5 * right // of

"""Whether the merged model passes the gates, and by which figure. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from branchmerge.api.evaluation import Bound, Gate
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import GateResult
from branchmerge_trainer.report.facts import Facts

_ROUNDING = 1e-9
"""Means of many zeros and ones are not exact: what misses a gate by less than this has reached it."""


@dataclass(frozen=True)
class _Figure:
    """What a gate looks at."""

    value: float
    low: float


def judge(facts: Facts) -> list[GateResult]:
    """A result for each gate. What was not measured does not pass."""
    return [_judge(gate, facts) for gate in facts.task.gates]


def _judge(gate: Gate, facts: Facts) -> GateResult:
    checks = []
    if gate.min_score is not None:
        score = facts.scores.get((MERGED, gate.suite))
        figure = None if score is None else _Figure(score.value, score.ci95[0])
        checks.append(_check("score", figure, gate.min_score, gate.bound))
    if gate.min_gain is not None:
        gain = facts.comparison(MERGED, gate.suite)
        figure = None if gain is None else _Figure(gain.value, gain.low)
        checks.append(_check("gain", figure, gate.min_gain, gate.bound))
    return GateResult(
        suite=gate.suite,
        passed=all(passed for passed, _ in checks),
        bound=gate.bound,
        message="; ".join(message for _, message in checks),
    )


def _check(what: str, figure: _Figure | None, least: str, bound: Bound) -> tuple[bool, str]:
    """(whether it passes, the comparison in words)"""
    if figure is None:
        return False, f"{what} was not measured"
    compared = figure.low if bound is Bound.LOWER_BOUND else figure.value
    passed = compared >= float(least) - _ROUNDING
    shown = _digits(compared, float(least))
    if bound is Bound.LOWER_BOUND:
        shown = f"{figure.value:.3f} (lower bound {shown})"
    return passed, f"{what} {shown} {'>=' if passed else '<'} {least}"


def _digits(value: float, least: float) -> str:
    """The value with as many digits (three or more) as it takes not to look like the limit that it misses."""
    for digits in range(3, 9):
        shown = f"{value:.{digits}f}"
        if (float(shown) >= least) == (value >= least - _ROUNDING):
            return shown
    return f"{value:.3f}"

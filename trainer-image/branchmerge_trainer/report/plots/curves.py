"""Loss over steps, of several runs in one figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter

from markupsafe import Markup

from branchmerge_trainer.report.plots.scale import Scale, fitting, linear
from branchmerge_trainer.report.plots.svg import element, percent, titled

COLOURS = 8
"""The style sheet has the classes series-0 … series-7; further runs use them again."""

_HEIGHT = 280
_MOST_POINTS = 500
"""Of one curve, about: more cannot be told apart."""

Point = tuple[float, float]
"""(step, loss)"""


def curves(title: str, runs: Mapping[str, Sequence[Point]]) -> Markup:
    """Each run as it was (faint) and smoothed (strong). What is not finite is left out."""
    shown = {name: [point for point in run if math.isfinite(point[1])] for name, run in runs.items()}
    points = [point for run in shown.values() for point in run]
    if not points:
        return Markup()
    across, up = Scale((0.0, max(step for step, _ in points))), fitting([loss for _, loss in points])
    lines = [line for index, run in enumerate(shown.values()) if run for line in _lines(index, run, across, up)]
    canvas = element("svg", *lines, viewBox="0 0 1000 1000", preserveAspectRatio="none", width="100%", height=_HEIGHT)
    return titled(_HEIGHT, title, *_grid(across, up), canvas, kind="curves")


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Mean over about `share` of the values around each one; towards the ends over fewer, so that it never lags."""
    sums = list(accumulate(values, initial=0.0))
    reach = round(share * len(values) / 2)
    means = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        means.append((sums[index + near + 1] - sums[index - near]) / (2 * near + 1))
    return means


def _lines(index: int, run: Sequence[Point], across: Scale, up: Scale) -> Iterator[Markup]:
    steps = [step for step, _ in run]
    raw = [loss for _, loss in run]
    for kind, losses in (("raw", raw), ("smooth", smoothed(raw))):
        yield element(
            "polyline",
            class_=f"{kind} series-{index % COLOURS}",
            points=" ".join(
                f"{1000 * across(step):.1f},{1000 * (1 - up(loss)):.1f}"
                for step, loss in _thinned(list(zip(steps, losses, strict=True)))
            ),
        )


def _grid(across: Scale, up: Scale) -> Iterator[Markup]:
    for tick in up.ticks:
        y = percent(1 - up(tick))
        yield element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:g}", class_="tick", x="0", y=y, dx=-10, dy=4, text_anchor="end")
    end = across.ticks[-1]
    for tick in (tick for tick in linear([0.0, end]).ticks if tick <= end):
        x = percent(across(tick))
        yield element("text", f"{tick:,.10g}", class_="tick", x=x, y="100%", dy=20, text_anchor="middle")


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """The lowest and the highest point of each stretch, so that spikes stay."""
    stretch = math.ceil(2 * len(points) / _MOST_POINTS)
    if stretch <= 2:
        return points
    stretches = [points[start : start + stretch] for start in range(0, len(points), stretch)]
    return [
        point for part in stretches for point in sorted({min(part, key=itemgetter(1)), max(part, key=itemgetter(1))})
    ]

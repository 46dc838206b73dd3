"""Figures that stand in a row of a table: an interval, a bar, a strip of cells, and the axis below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from branchmerge_trainer.report.plots.scale import Scale
from branchmerge_trainer.report.plots.svg import element, hidden, percent, titled

_INTERVAL_HEIGHT = 34
_AXIS_HEIGHT = 22
_BAR_HEIGHT = 12
_CAP, _RADIUS = 5, 4.5
_STRIP_HEIGHT = 18
_LEAST_VISIBLE = 0.05
"""Opacity of a cell that is nearly zero, so that it can be told from one that is not there."""


def interval(
    scale: Scale, low: float, value: float, high: float, *, tone: str, reference: float | None = None
) -> Markup:
    """A dot with its interval on the grid of the scale; `reference` is a dashed line. `tone` is a class."""
    start, middle, end = (percent(scale(each)) for each in (low, value, high))
    marks = (
        element("line", class_="whisker", x1=start, x2=end),
        *(element("line", class_="whisker", x1=x, x2=x, y1=-_CAP, y2=_CAP) for x in (start, end)),
        element("circle", class_="dot", cx=middle, r=_RADIUS),
    )
    parts = list(_grid(scale))
    if reference is not None:
        parts.append(_vertical(scale(reference), "reference"))
    # An SVG within, its origin in the middle, so that the style sheet may choose any height.
    parts.append(element("svg", *marks, y="50%", overflow="visible"))
    return hidden(_INTERVAL_HEIGHT, *parts, kind=f"interval {tone}")


def axis(scale: Scale, *, signed: bool = False) -> Markup:
    """The numbers of the ticks, each below its line of the grid; every other one is `minor`, zero never."""
    zero = scale.ticks.index(0.0) if 0.0 in scale.ticks else 0
    labels = (
        element(
            "text",
            _signed(tick) if signed else f"{tick:g}",
            class_="tick minor" if (index - zero) % 2 else "tick",
            x=percent(scale(tick)),
            y=15,
            text_anchor="middle",
        )
        for index, tick in enumerate(scale.ticks)
    )
    return hidden(_AXIS_HEIGHT, *labels, kind="axis")


def bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """Shares (0-1) of one whole, side by side, each in the colour of its class; what they leave is the rail."""
    shapes, start = [cell(0.0, 1.0, _BAR_HEIGHT, "rail")], 0.0
    for name, share in parts:
        shapes.append(cell(start, share, _BAR_HEIGHT, name))
        start += share
    return hidden(_BAR_HEIGHT, *shapes, kind="bar")


def strip(title: str, shares: Sequence[float | None], darkest: float) -> Markup:
    """A cell for each share (0-1), the darker the closer it is to `darkest`; none where there is no value.

    `darkest` is 0 where nothing has changed, as in a merge of one model.
    """
    scale = darkest or 1.0
    width = 1 / len(shares)
    cells = [
        cell(index * width, width, _STRIP_HEIGHT, "heat", opacity=max(_LEAST_VISIBLE, share / scale))
        for index, share in enumerate(shares)
        if share is not None
    ]
    return titled(_STRIP_HEIGHT, title, *cells, kind="strip")


def strip_axis(labels: Sequence[str], most: int = 8) -> Markup:
    """Names of a strip's cells, of at most about `most` of them."""
    stride = -(-len(labels) // most)
    texts = [
        element("text", label, class_="tick", x=percent((index + 0.5) / len(labels)), y=15, text_anchor="middle")
        for index, label in enumerate(labels)
        if index % stride == 0
    ]
    return hidden(_AXIS_HEIGHT, *texts, kind="axis")


def _grid(scale: Scale) -> Iterator[Markup]:
    return (_vertical(scale(tick), "zero" if tick == 0 else "grid") for tick in scale.ticks)


def _vertical(share: float, kind: str) -> Markup:
    return element("line", class_=kind, x1=percent(share), x2=percent(share), y1="0", y2="100%")


def _signed(tick: float) -> str:
    return f"{tick:+g}".replace("-", "−") if tick else "0"


def cell(start: float, share: float, height: int, kind: str, opacity: float | None = None) -> Markup:
    """A rectangle of this class, from `start` on as wide as `share` (both 0-1 of the width)."""
    shown = None if opacity is None else f"{min(1.0, opacity):.3f}"
    return element("rect", class_=kind, x=percent(start), width=percent(share), height=height, fill_opacity=shown)

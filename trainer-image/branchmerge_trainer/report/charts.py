"""Figures as inline SVG: pure functions from numbers to text. Colours are the page's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_COLOURS = 6
"""The page defines --c0 … --c5."""


@dataclass(frozen=True)
class Dot:
    """A figure with its interval."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = False
    """Whether it is the one that the chart is about."""


def dots(title: str, rows: Sequence[Dot], *, reference: float | None = None) -> str:
    """A dot and a whisker for each row, on one scale; `reference` is a vertical line."""
    width, left, right, line = 640, 170, 92, 30
    height = line * len(rows) + 34
    values = [bound for row in rows for bound in (row.low, row.high)] + ([] if reference is None else [reference])
    ticks = nice_ticks(min(values), max(values), 5)
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    parts = [_svg(width, height, title)]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="6" y2="{height - 26}"/>')
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>')
    if reference is not None:
        parts.append(f'<line class="ref" x1="{x(reference):.1f}" x2="{x(reference):.1f}" y1="6" y2="{height - 26}"/>')
    for index, row in enumerate(rows):
        y = 6 + line * index + line / 2
        kind = "strong" if row.strong else "plain"
        parts.append(
            f'<text class="name {kind}" x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
        )
        parts.append(
            f'<line class="whisker {kind}" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<circle class="dot {kind}" cx="{x(row.value):.1f}" cy="{y:.1f}" r="{5 if row.strong else 4}"/>')
        parts.append(f'<text class="figure {kind}" x="{width - right + 14}" y="{y + 4:.1f}">{row.value:.3f}</text>')
    return "".join([*parts, "</svg>"])


def curves(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Loss over steps: each branch's raw curve faint, and smoothed (exponential mean) over it."""
    width, height, left, bottom, top, right = 640, 280, 52, 34, 10, 100
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    last = max(step for step, _ in points)
    ticks = nice_ticks(0.0, max(loss for _, loss in points), 5)

    def place(step: float, loss: float) -> str:
        x = left + step / last * (width - left - right)
        y = height - bottom - loss / ticks[-1] * (height - bottom - top)
        return f"{x:.1f},{y:.1f}"

    parts = [_svg(width, height, title)]
    for tick in ticks:
        y = float(place(0, tick).split(",")[1])
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in nice_ticks(0.0, last, 5):
        if tick <= last:
            x = place(tick, 0).split(",")[0]
            parts.append(f'<text class="tick" x="{x}" y="{height - 14}" text-anchor="middle">{tick:g}</text>')
    ends = []
    for index, (name, line) in enumerate(series.items()):
        smooth = smoothed([loss for _, loss in line])
        raw = " ".join(place(step, loss) for step, loss in _thinned(line))
        soft = " ".join(
            place(step, loss) for step, loss in _thinned(list(zip([s for s, _ in line], smooth, strict=True)))
        )
        parts.append(f'<polyline class="raw c{index % _COLOURS}" points="{raw}"/>')
        parts.append(f'<polyline class="line c{index % _COLOURS}" points="{soft}"/>')
        ends.append((float(place(line[-1][0], smooth[-1]).split(",")[1]), index, name))
    for y, index, name in _spread(ends, 16):
        parts.append(
            f'<text class="label c{index % _COLOURS}" x="{width - right + 8}" y="{y + 4:.1f}">{escape(name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def bars(title: str, rows: Sequence[tuple[str, float]]) -> str:
    """Shares (0-1) as horizontal bars."""
    width, left, right, line = 640, 210, 70, 24
    height = line * len(rows) + 8
    parts = [_svg(width, height, title)]
    for index, (label, share) in enumerate(rows):
        y, full = 4 + line * index, width - left - right
        parts.append(f'<text class="name plain" x="{left - 12}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect class="rail" x="{left}" y="{y + 5}" width="{full}" height="12" rx="3"/>')
        parts.append(f'<rect class="bar" x="{left}" y="{y + 5}" width="{full * share:.1f}" height="12" rx="3"/>')
        parts.append(f'<text class="figure plain" x="{width - right + 12}" y="{y + 15}">{share:.1%}</text>')
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) that cover [low, high]."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Exponential mean over about `share` of the values, its start not biased (Kingma & Ba 2015, section 3)."""
    decay = 1 - 1 / max(1.0, share * len(values))
    mean, result = 0.0, []
    for index, value in enumerate(values, start=1):
        mean = decay * mean + (1 - decay) * value
        result.append(mean / (1 - decay**index) if decay > 0 else value)
    return result


def _thinned(points: Sequence[tuple[float, float]], most: int = 600) -> Sequence[tuple[float, float]]:
    stride = ceil(len(points) / most)
    return points if stride == 1 else [*points[:-1:stride], points[-1]]


def _spread(ends: Sequence[tuple[float, int, str]], gap: float) -> list[tuple[float, int, str]]:
    """Labels at their heights, pushed down where they would cover each other."""
    placed: list[tuple[float, int, str]] = []
    for y, index, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, index, name))
    return placed


def _svg(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'

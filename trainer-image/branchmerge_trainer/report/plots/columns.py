"""A small histogram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from branchmerge_trainer.report.plots.svg import element, percent, titled

_ROOM = 84
"""Pixels for the highest column."""
_ABOVE, _BELOW = 18, 24
"""Pixels for the number above a column, and for the words below it."""
_WIDTH = 0.72
"""Of its place, that a column fills."""
_LEAST = 1.5
"""Pixels of a column that is hardly anything."""


def columns(title: str, values: Sequence[tuple[str, float]]) -> Markup:
    """A column for each (words, share); the shares (0-1) stand above them as percentages. No column, no figure."""
    if not values:
        return Markup()
    highest = max(share for _, share in values) or 1.0
    parts = [
        part
        for index, (words, share) in enumerate(values)
        for part in _column(words, share, share / highest, index / len(values), 1 / len(values))
    ]
    floor = element("line", class_="zero", x1="0", x2="100%", y1=_ABOVE + _ROOM, y2=_ABOVE + _ROOM)
    return titled(_ABOVE + _ROOM + _BELOW, title, *parts, floor, kind="columns")


def _column(words: str, share: float, relative: float, left: float, place: float) -> Iterator[Markup]:
    height = max(_LEAST, _ROOM * relative) if share else 0.0
    middle, top = percent(left + place / 2), _ABOVE + _ROOM - height
    if share:
        inset = (1 - _WIDTH) / 2 * place
        yield element(
            "rect",
            class_="learned",
            x=percent(left + inset),
            width=percent(_WIDTH * place),
            y=f"{top:.1f}",
            height=f"{height:.1f}",
        )
    yield element("text", _told(share), x=middle, y=f"{top - 5:.1f}", text_anchor="middle")
    yield element("text", words, x=middle, y=_ABOVE + _ROOM + 16, text_anchor="middle")


def _told(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"

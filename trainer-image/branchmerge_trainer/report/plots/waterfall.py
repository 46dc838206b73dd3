"""The rows of one step: those that it let pass, and those that it dropped, reason by reason."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from branchmerge_trainer.report.plots.rows import cell
from branchmerge_trainer.report.plots.svg import hidden

LEAST = 0.009
"""Share of the width that shows: about three pixels. Whatever there is at all is drawn as wide as this."""

_HEIGHT = 16


def waterfall(whole: int, most: int, parts: Sequence[tuple[str, int]]) -> Markup:
    """`whole` rows as a bar, of which `parts` (class, rows) lie side by side; `most` rows are the full width."""
    widths = visible([rows / most for _, rows in parts], whole / most)
    shapes, start = [cell(0.0, 1.0, _HEIGHT, "rail")], 0.0
    for (name, _), width in zip(parts, widths, strict=True):
        if width:
            shapes.append(cell(start, width, _HEIGHT, name))
        start += width
    return hidden(_HEIGHT, *shapes, kind="waterfall")


def visible(shares: Sequence[float], room: float, least: float = LEAST) -> list[float]:
    """The shares, those above 0 at least `least`; wider ones give way, so that all take no more than `room`.

    Where even the narrowest need more than that, they take it.
    """
    lifted = [max(share, least) if share > 0 else 0.0 for share in shares]
    spare = sum(share - least for share in lifted if share > 0)
    excess = min(max(0.0, sum(lifted) - room), spare)
    kept = 1 - excess / spare if spare else 1.0
    return [least + (share - least) * kept if share > 0 else 0.0 for share in lifted]

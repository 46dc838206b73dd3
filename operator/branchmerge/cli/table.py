"""The table of stages, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from branchmerge.api.status import StageState
from branchmerge.cli.board import Row

_BAR_WIDTH = 16
_WIDTH_WITH_BARS = 96
_STYLES = {
    StageState.PENDING: ("·", "dim"),
    StageState.BACKING_OFF: ("↻", "yellow"),
    StageState.RUNNING: ("▶", "cyan"),
    StageState.STOPPING: ("■", "yellow"),
    StageState.SUSPENDED: ("■", "yellow"),
    StageState.SUCCEEDED: ("✓", "green"),
    StageState.FAILED: ("✗", "bold red"),
    StageState.SKIPPED: ("-", "dim"),
}
_BUSY = frozenset({StageState.RUNNING, StageState.STOPPING, StageState.BACKING_OFF, StageState.FAILED})


def stage_table(rows: Sequence[Row], *, width: int, height: int | None = None) -> RenderableType:
    """The stages as a table, and below it why some of them do not go on.

    Where `height` lines are too few for all, those that nothing happens to are counted only. Bars need a `width` of 96.
    """
    shown = list(rows)
    if height is not None and len(rows) > height:
        shown = [row for row in rows if row.state in _BUSY][: max(1, height - 1)]
    bars = width >= _WIDTH_WITH_BARS
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("stage", "state", *(["progress"] if bars else [])):
        table.add_column(title, no_wrap=True)
    for title in ("step", "loss", "tok/s", "time"):
        table.add_column(title, no_wrap=True, justify="right")
    for row in shown:
        bar = [_bar(row)] if bars else []
        table.add_row(row.name, _state(row), *bar, row.count, row.loss, row.rate, row.time, style=_dim(row))
    below: list[RenderableType] = []
    if len(shown) < len(rows):
        below.append(Text(_rest([row for row in rows if row not in shown]), style="dim"))
    below.extend(Text(f"{row.name}: {row.reason}", style=_STYLES[row.state][1]) for row in shown if row.reason)
    return Group(table, *below)


def _state(row: Row) -> RenderableType:
    symbol, style = _STYLES[row.state]
    if row.starting:
        return Spinner("dots", text=Text(row.word, style=style), style=style)
    return Text(f"{symbol} {row.word}", style=style)


def _bar(row: Row) -> RenderableType:
    if row.starting:
        return ProgressBar(total=None, width=_BAR_WIDTH, pulse=True)
    return ProgressBar(total=1.0, completed=row.share, width=_BAR_WIDTH) if row.share or row.steps else Text("")


def _dim(row: Row) -> str:
    return "dim" if row.state in (StageState.PENDING, StageState.SKIPPED) else ""


def _rest(rows: Sequence[Row]) -> str:
    words = [row.word for row in rows]
    return "… and " + ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))

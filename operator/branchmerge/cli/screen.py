"""What a person sees while a job runs: a live table in a terminal, lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from branchmerge.api.status import StageState, Status
from branchmerge.cli.board import Row, rows_of
from branchmerge.cli.table import stage_table
from branchmerge.cli.words import duration
from branchmerge.core.model import JobState
from branchmerge.core.status import percent_done
from branchmerge.local.session import Snapshot

_HEARTBEAT_SECONDS = 3.5
_REFRESHES_PER_SECOND = 8
_LINES_AROUND_TABLE = 6
_RUNNING = frozenset({StageState.RUNNING, StageState.STOPPING})


class Screen(Protocol):
    """Shows a job at work. A screen that is gone (a closed terminal or pipe) never stops the work."""

    def update(self, snapshot: Snapshot) -> None:
        """Show where the job stands."""
        ...

    def note(self, text: str) -> None:
        """Say something in between."""
        ...


class Lines:
    """One line for each change of a stage, and a heartbeat with figures in between."""

    def __init__(self, heartbeat_seconds: float) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._began = time.monotonic()
        self._states: dict[str, tuple[StageState, int]] = {}
        self._last_line = float("-inf")

    def show(self, rows: Sequence[Row], status: Status, idle: str) -> None:
        """Print what has changed, or the heartbeat where that is due; `idle` is said where no stage is at work."""
        attempts = {stage.name: stage.attempts for stage in status.stages}
        for row in rows:
            state = (row.state, attempts[row.name])
            if state != self._states.get(row.name, (StageState.PENDING, 0)):
                self.say(_change(row, attempts[row.name]))
            self._states[row.name] = state
        if time.monotonic() - self._last_line >= self._heartbeat_seconds:
            busy = "; ".join(row.line for row in rows if row.state in _RUNNING) or idle
            self.say(f"{status.progress}: {busy}" if status.progress else busy)

    def say(self, text: str) -> None:
        """Print a line."""
        self._last_line = time.monotonic()
        with suppress(OSError, ValueError):  # whoever read this is gone
            print(f"[{duration(self._last_line - self._began)}] {text}", flush=True)


class PlainScreen:
    """Lines; for logs and CI."""

    def __init__(self) -> None:
        self._lines = Lines(_HEARTBEAT_SECONDS)

    def update(self, snapshot: Snapshot) -> None:
        """Print what has changed, or the heartbeat where that is due."""
        rows = rows_of(snapshot.status, snapshot.observation.attempts, snapshot.observation.now)
        self._lines.show(rows, snapshot.status, snapshot.plan.message)

    def note(self, text: str) -> None:
        """Print a line."""
        self._lines.say(text)


class LiveScreen:
    """A table that is drawn anew several times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._snapshot: Snapshot | None = None
        self._note = ""

    def update(self, snapshot: Snapshot) -> None:
        """Draw this from now on."""
        self._snapshot = snapshot

    def note(self, text: str) -> None:
        """Show a line below the table."""
        self._note = text

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw for the duration of the block; the last picture stays."""
        with Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=False,
        ):
            yield

    def _render(self) -> RenderableType:
        if self._snapshot is None:
            return Text(self._note or "starting")
        snapshot = self._snapshot
        rows = rows_of(snapshot.status, snapshot.observation.attempts, datetime.now(UTC))
        size = self._console.size
        table = stage_table(rows, width=size.width, height=max(4, size.height - _LINES_AROUND_TABLE))
        parts: list[RenderableType] = [table, Text(""), self._overall(snapshot)]
        if self._note and snapshot.plan.state is JobState.RUNNING:
            parts.append(Text(self._note, style="yellow"))
        return Group(*parts)

    def _overall(self, snapshot: Snapshot) -> RenderableType:
        percent = percent_done(snapshot.plan)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(
            Text(snapshot.job.metadata.name, style="bold"),
            Text(str(snapshot.status.phase or "")),
            ProgressBar(total=100, completed=percent, width=30),
            f"{percent}%",
            f"branches {snapshot.status.branches}",
            f"elapsed {duration(time.monotonic() - self._began)}",
        )
        return grid


def _change(row: Row, attempt: int) -> str:
    if row.state is StageState.RUNNING:
        return f"{row.name}: started" + (f" (attempt {attempt})" if attempt > 1 else "")
    detail = f": {row.reason}" if row.reason else f" ({row.time})" if row.time else ""
    return f"{row.name}: {row.word}{detail}"

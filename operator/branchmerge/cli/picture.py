"""A job at one moment, as `status` shows it: once, or anew with every change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from branchmerge.api.status import ConditionType, Phase, Status
from branchmerge.cli.board import Row
from branchmerge.cli.console import Exit, is_interactive, output
from branchmerge.cli.screen import Lines
from branchmerge.cli.table import stage_table

_TELLING = frozenset({ConditionType.SUCCEEDED, ConditionType.FAILED, ConditionType.SUSPENDED, ConditionType.STALLED})
"""Conditions that say more than the table does where they are true."""
_PAUSE_SECONDS = 1.0
_HEARTBEAT_SECONDS = 60.0
_REFRESHES_PER_SECOND = 8
_LINES_AROUND_TABLE = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to show."""

    name: str
    status: Status
    rows: list[Row]
    footer: tuple[str, ...]
    """Lines below it all."""
    over: bool
    """Whether nothing will change any more."""

    def render(self, width: int, height: int | None = None) -> RenderableType:
        """Title, table, what the conditions tell, footer."""
        table_height = None if height is None else max(4, height - _LINES_AROUND_TABLE)
        parts: list[RenderableType] = [Text(self.name, style="bold").append(f" {self._summary()}", style="not bold")]
        if self.rows:
            parts.append(stage_table(self.rows, width=width, height=table_height))
        parts += [Text(told) for told in _told(self.status)]
        return Group(*parts, Text(""), *(Text(line) for line in self.footer))

    def _summary(self) -> str:
        status = self.status
        branches = f"branches {status.branches}" if status.branches else ""
        hours = f"GPU-hours {status.gpu_hours}" if float(status.gpu_hours or 0) else ""
        return "  ".join(part for part in (status.phase or Phase.PENDING, status.progress, branches, hours) if part)

    @property
    def code(self) -> Exit:
        """Whether the job has succeeded, for who waited for its end."""
        return Exit.DONE if holds(self.status, ConditionType.SUCCEEDED) else Exit.JOB_FAILED


def holds(status: Status, kind: ConditionType) -> bool:
    """Whether a condition is true."""
    return any(each.type == kind and each.status == "True" for each in status.conditions)


def show(picture: Picture) -> None:
    """Print it."""
    console = output()
    console.print(picture.render(console.width))


async def watch(look: Callable[[], Awaitable[Picture]]) -> Picture:
    """Show the job until it is over: drawn anew in a terminal, a line a change elsewhere. Returns the last picture."""
    return await (_draw if is_interactive() else _tell)(look)


async def _draw(look: Callable[[], Awaitable[Picture]]) -> Picture:
    console, picture = output(), await look()

    def render() -> RenderableType:
        return picture.render(console.size.width, console.size.height)

    with Live(get_renderable=render, console=console, refresh_per_second=_REFRESHES_PER_SECOND):
        while not picture.over:
            await asyncio.sleep(_PAUSE_SECONDS)
            picture = await look()
    return picture


async def _tell(look: Callable[[], Awaitable[Picture]]) -> Picture:
    lines = Lines(_HEARTBEAT_SECONDS)
    before: list[str] = []
    while True:
        picture = await look()
        lines.show(picture.rows, picture.status, picture.status.phase or Phase.PENDING)
        told = list(_told(picture.status))
        for line in told:
            if line not in before:
                lines.say(line)
        before = told
        if picture.over:
            return picture
        await asyncio.sleep(_PAUSE_SECONDS)


def _told(status: Status) -> Iterator[str]:
    """What the conditions say that the table does not."""
    for condition in status.conditions:
        if condition.type == ConditionType.ACCEPTED and condition.status == "False":
            yield f"not accepted: {condition.message}"
        elif condition.status == "True" and condition.type in _TELLING:
            yield f"{condition.type}: {condition.message}"

"""The two streams that a command writes to, and how it says that something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import IntEnum

import typer
from rich.console import Console

_FILE_WIDTH = 240
INTERRUPT_ADVICE = "type the same command to go on from the last checkpoint"


class Exit(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    JOB_FAILED = 1
    BAD_INPUT = 64
    INTERRUPTED = 130


def output() -> Console:
    """Standard output. Lines are as long as they need to be where nobody looks at a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)


def is_interactive() -> bool:
    """Whether standard output is a terminal that a table can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def complain(lines: Iterable[str]) -> None:
    """Write problems to standard error, one a line."""
    for line in lines:
        print(f"error: {line}", file=sys.stderr, flush=True)


def failed(text: str) -> typer.Exit:
    """Say in one line what did not work, though the command was right; raise what this returns."""
    complain([text])
    return typer.Exit(Exit.JOB_FAILED)


def remark(text: str) -> None:
    """Write something worth knowing to standard error, out of the way of what a pipe reads."""
    print(f"note: {text}", file=sys.stderr, flush=True)

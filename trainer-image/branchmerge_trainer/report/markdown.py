"""Markdown in which no text is taken for markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MARKUP = re.compile(r"[\\`*<|~]|(?<=\])\(|(?<!\w)_|_(?!\w)|^[#>+-]")


def plain(text: object) -> str:
    """Text on one line that shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(str(text).split()))


def code(text: object) -> str:
    """A code span. Backticks within would end it: they become quotes; a pipe would end the cell."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """A list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)

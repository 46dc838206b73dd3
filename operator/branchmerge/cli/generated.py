"""Files that are generated from the models: write them, or check that they are in sync."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from difflib import unified_diff
from pathlib import Path

SHOWN_LINES = 40
"""Lines of a difference that are shown."""


def main(path: str, render: Callable[[], str], remake: str, arguments: Sequence[str] | None = None) -> int:
    """Write what `render` returns to `path`, or with `--check` compare it. Returns the exit code.

    `remake` is the command that a person types to write the file; `arguments` default to those of the process.
    """
    parser = ArgumentParser(description=f"Generate {path} from the models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the file is out of date")
    parser.add_argument("path", nargs="?", type=Path, default=Path(path), help="default: %(default)s")
    options = parser.parse_args(arguments)
    expected = render()
    if not options.check:
        options.path.parent.mkdir(parents=True, exist_ok=True)
        options.path.write_text(expected, encoding="utf-8")
        return 0
    found = options.path.read_text(encoding="utf-8") if options.path.exists() else ""
    if found == expected:
        return 0
    print(f"{options.path}: out of date: run `{remake}`", file=sys.stderr)
    sys.stderr.writelines(_difference(found, expected, str(options.path)))
    return 1


def _difference(found: str, expected: str, name: str) -> list[str]:
    lines = list(
        unified_diff(
            found.splitlines(keepends=True), expected.splitlines(keepends=True), f"{name} (as it is)", "the models"
        )
    )
    return [*lines[:SHOWN_LINES], *([f"… {len(lines) - SHOWN_LINES} more lines\n"] if len(lines) > SHOWN_LINES else [])]

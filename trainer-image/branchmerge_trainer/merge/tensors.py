"""What a merge did to each tensor, as `tensors.jsonl`. Imports no torch, so that a report can read it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

TENSORS_FILE = "tensors.jsonl"


@dataclass(frozen=True)
class TensorChange:
    """One line of `tensors.jsonl`."""

    tensor: str
    elements: int
    changed: float
    """Share (0-1) of the elements that differ from the base's."""


def share(tensors: Iterable[TensorChange]) -> float:
    """Share (0-1) of all their elements that changed."""
    rows = list(tensors)
    return sum(row.changed * row.elements for row in rows) / max(1, sum(row.elements for row in rows))


def write_changes(folder: Path, tensors: Iterable[TensorChange]) -> None:
    """Write `tensors.jsonl`, one tensor a line."""
    lines = (json.dumps(asdict(row)) + "\n" for row in tensors)
    (folder / TENSORS_FILE).write_text("".join(lines))


def read_changes(folder: Path) -> list[TensorChange]:
    """Read what `write_changes` wrote."""
    return [TensorChange(**json.loads(line)) for line in (folder / TENSORS_FILE).read_text().splitlines()]

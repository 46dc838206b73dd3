"""The curve of a run: one line a step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

HISTORY_FILE = "history.jsonl"


@dataclass(frozen=True)
class StepRecord:
    """What is known after a step."""

    step: int
    """Steps done."""
    loss: float
    """Mean over the learned tokens of the global batch, in nats, before the update."""
    learning_rate: float
    grad_norm: float
    """Before it was clipped."""
    tokens: int
    """Tokens of the global batch, padding left out."""


def write_history(folder: Path, records: list[StepRecord]) -> None:
    """Write `history.jsonl`."""
    lines = (json.dumps(asdict(record)) + "\n" for record in records)
    (folder / HISTORY_FILE).write_text("".join(lines))


def read_history(folder: Path) -> list[StepRecord]:
    """Read what `write_history` wrote."""
    return [StepRecord(**json.loads(line)) for line in (folder / HISTORY_FILE).read_text().splitlines()]

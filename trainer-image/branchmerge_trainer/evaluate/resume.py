"""Finished batches of an evaluation, kept from attempt to attempt: one line of JSON each, appended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from branchmerge_trainer.evaluate.answers import Answer


@dataclass(frozen=True)
class FinishedBatch:
    """The answers of one batch."""

    index: int
    seconds: float
    """That generating it took."""
    answers: Sequence[Answer]


class BatchLog:
    """The finished batches of one suite."""

    def __init__(self, path: Path) -> None:
        """Read what earlier attempts left. A last line that a kill cut off is dropped."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        self.finished = {batch.index: batch for batch in map(_parsed, whole.splitlines())}
        """By index."""

    def append(self, batch: FinishedBatch) -> None:
        """Add a batch; once this returns, a kill of the process does not lose it."""
        with self._path.open("ab") as file:
            file.write(json.dumps(asdict(batch), ensure_ascii=False).encode() + b"\n")
        self.finished[batch.index] = batch


def _parsed(line: bytes) -> FinishedBatch:
    fields = json.loads(line)
    return FinishedBatch(fields["index"], fields["seconds"], [Answer(**answer) for answer in fields["answers"]])

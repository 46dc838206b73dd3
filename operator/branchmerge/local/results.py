"""The outputs that are in a workspace: a folder that has its final name and a result is complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from branchmerge.api.base import RecordModel
from branchmerge.api.stage import RESULT_FILE, StageResult
from branchmerge.core.model import StageKey
from branchmerge.local.files import read_record

LINEAGE_FILE = "lineage.json"
_OUTPUT_NAME = re.compile(r"[0-9a-f]{16}")


class Lineage(RecordModel):
    """What an output was made from."""

    stage: str
    fingerprint: str
    ingredients: dict[str, Any]


@dataclass(slots=True)
class ResultCatalog:
    """Reads each result once; an output never changes once it is there."""

    stages: Path
    _known: dict[tuple[str, int, int], StageResult | None] = field(default_factory=dict)

    def scan(self) -> dict[StageKey, StageResult]:
        """All results of the workspace, whichever job definition they were made for."""
        found = {}
        for folder in _outputs(self.stages):
            result = self.read(folder)
            if result is not None:
                found[result.stage, result.fingerprint] = result
        return found

    def read(self, output: Path) -> StageResult | None:
        """The result of an output folder, None where it is not complete."""
        file = output / RESULT_FILE
        try:
            stat = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        key = (str(file), stat.st_ino, stat.st_mtime_ns)
        if key not in self._known:
            self._known[key] = read_record(file, StageResult)
        return self._known[key]


def lineages(stages: Path) -> list[tuple[StageResult, Lineage]]:
    """Every complete output and what it was made from, the newest first."""
    catalog = ResultCatalog(stages)
    found = [
        (result, lineage)
        for folder in _outputs(stages)
        if (result := catalog.read(folder)) and (lineage := read_record(folder / LINEAGE_FILE, Lineage))
    ]
    return sorted(found, key=lambda pair: pair[0].finished_at, reverse=True)


def _outputs(folder: Path) -> Iterator[Path]:
    """Output folders at any depth; nothing below them is looked at."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.is_dir():
            continue
        if _OUTPUT_NAME.fullmatch(entry.name):
            yield Path(entry.path)
        elif "." not in entry.name:  # `<output>.work` and `<output>.new-<n>` are unfinished
            yield from _outputs(Path(entry.path))

"""Checkpoints of a run: one that has its name is complete, and one that has lost a part is passed over."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from branchmerge_trainer.train.ranks import Ranks
from branchmerge_trainer.workspace import sync_folder, write_atomic

_MARKER = "complete.json"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    step: int
    world: int
    """Ranks that wrote it."""


class Checkpoints:
    """The checkpoints below one folder, which all ranks share."""

    def __init__(self, folder: Path, keep: int, ranks: Ranks) -> None:
        self._folder = folder
        self._keep = keep
        self._ranks = ranks

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Save a checkpoint; `write` fills a folder, each rank its part. The oldest ones beyond `keep` are removed."""
        final = self._folder / f"step-{step}"
        partial = self._folder / f"{final.name}.partial"
        if self._ranks.leads:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._ranks.wait()
        write(partial)
        self._ranks.wait()
        if self._ranks.leads:
            sizes = {str(path.relative_to(partial)): path.stat().st_size for path in _files(partial)}
            write_atomic(partial / _MARKER, json.dumps({"world": self._ranks.world, "sizes": sizes}).encode())
            sync_folder(partial)
            shutil.rmtree(final, ignore_errors=True)  # damaged, else the run had gone on from it
            partial.rename(final)
            self._prune()
        self._ranks.wait()

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint, the same for all ranks; None where there is none."""
        step = 0
        if self._ranks.leads:
            step = next((step for step in self._steps() if self._is_complete(step)), 0)
        (chosen,) = self._ranks.total(step)  # only the first rank's counts
        if not chosen:
            return None
        folder = self._folder / f"step-{int(chosen)}"
        return Checkpoint(folder, int(chosen), json.loads((folder / _MARKER).read_bytes())["world"])

    def _steps(self) -> list[int]:
        """Steps that have a checkpoint, the newest first."""
        if not self._folder.exists():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def _is_complete(self, step: int) -> bool:
        folder = self._folder / f"step-{step}"
        problem = next(_damages(folder), None)
        if problem is not None:
            print(f"checkpoint of step {step} is damaged ({problem}): it is passed over", flush=True)
        return problem is None

    def _prune(self) -> None:
        for path in self._folder.glob("*.partial"):
            shutil.rmtree(path)
        for step in self._steps()[self._keep :]:
            shutil.rmtree(self._folder / f"step-{step}")


def _damages(folder: Path) -> Iterator[str]:
    try:
        sizes = json.loads((folder / _MARKER).read_bytes())["sizes"]
    except (OSError, ValueError, KeyError):
        yield f"no readable {_MARKER}"
        return
    for name, size in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            yield f"{name} has {found} of {size} bytes"


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield Path(root) / name

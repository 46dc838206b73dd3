"""Where a stage reads and writes. Outputs are atomic: a folder that has its final name is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from branchmerge.api.content import combined, file_digest
from branchmerge.api.errors import InputError
from branchmerge.api.stage import INPUTS_ENV, RESULT_FILE, WORKSPACE_ENV, ModelRef, StageConfig, StageResult

LINEAGE_FILE = "lineage.json"


@dataclass(frozen=True)
class Workspace:
    """The folders of one attempt."""

    root: Path
    """Outputs of stages; shared by all of them."""
    inputs: Path
    """Where relative paths of the user start from."""

    @classmethod
    def from_env(cls) -> Workspace:
        """The workspace that the environment names."""
        root = os.environ.get(WORKSPACE_ENV)
        if not root:
            raise InputError(f"environment variable {WORKSPACE_ENV} is not set: set it to the workspace's folder")
        return cls(Path(root), Path(os.environ.get(INPUTS_ENV) or root))

    def path(self, relative: str) -> Path:
        """A path of the workspace."""
        return self.root / relative

    def locate(self, location: str) -> str:
        """Where something that the user named lies: an absolute path if it exists, else the location as it is.

        What is returned as it was given is a Hub id or an fsspec URI.
        """
        if "://" in location:
            return location
        path = self.inputs / location
        return str(path) if path.exists() else location

    def model(self, ref: ModelRef) -> str:
        """What to pass to `from_pretrained`: the folder of a stage's output, or what the user named."""
        if ref.output is not None:
            return str(self.path(ref.output))
        assert ref.model is not None, f"model {ref.name} has neither an output nor a location"
        return self.locate(ref.model)

    def result(self, output: str) -> StageResult | None:
        """The result of an output folder, or None where there is none."""
        try:
            return StageResult.model_validate_json((self.path(output) / RESULT_FILE).read_bytes())
        except FileNotFoundError:
            return None


def new_folder(config: StageConfig, workspace: Workspace) -> Path:
    """A fresh folder beside the final one, to write an output into. What a killed attempt left there is removed.

    It holds its lineage from the start, so that it can be told whose it is. Call `publish` to give it its final name.
    """
    folder = building_folder(config, workspace)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f"{workspace.path(config.output).name}.new-*"):
        shutil.rmtree(leftover)
    folder.mkdir()
    (folder / LINEAGE_FILE).write_text(lineage(config))
    return folder


def lineage(config: StageConfig) -> str:
    """Which job made an output, and the ingredients of its fingerprint, as indented JSON."""
    facts = {"job": config.job, "stage": config.stage, "fingerprint": config.fingerprint}
    return json.dumps({**facts, "ingredients": config.ingredients}, indent=2, sort_keys=True)


def building_folder(config: StageConfig, workspace: Workspace) -> Path:
    """The folder that an attempt builds its output in."""
    final = workspace.path(config.output)
    return final.with_name(f"{final.name}.new-{config.attempt}")


def publish(folder: Path, result: StageResult, config: StageConfig, workspace: Workspace) -> None:
    """Make `folder` the stage's output: `result.json` last, everything on disk, one rename."""
    (folder / RESULT_FILE).write_text(result.to_json())
    sync_folder(folder)
    final = workspace.path(config.output)
    if final.exists():
        shutil.rmtree(final)  # without a result, else the attempt had ended with it
    folder.rename(final)
    _sync(final.parent)
    shutil.rmtree(workspace.path(config.work), ignore_errors=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file such that a reader sees the old content or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def digest(folder: Path, files: Iterable[str] | None = None) -> str:
    """Content digest (sha256, hex) of the named files, or of all below `folder`: of their names and bytes."""
    names = sorted(files if files is not None else _files(folder))
    return combined({name: file_digest(folder / name) for name in names})


def _files(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (RESULT_FILE, LINEAGE_FILE)
    ]


def sync_folder(folder: Path) -> None:
    """Have everything below `folder` on disk."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

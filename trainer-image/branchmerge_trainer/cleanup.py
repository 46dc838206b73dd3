"""`python -m branchmerge_trainer.cleanup`: removes what a job has written into its workspace, and nothing else.

The job is named by `BRANCHMERGE_JOB`. A folder is the job's where its lineage says so and it lies where that lineage
belongs; so data and models of the user, outputs that another job has made in the same workspace, and whatever somebody
put beside them stay. What endpoints have answered to the job lies under its name. Links are never followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.api.stage import JOB_ENV
from branchmerge_trainer.main import concluded
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import LINEAGE_FILE, Workspace

_FOLDER = re.compile(r"(?P<output>[0-9a-f]{16})(?P<rest>\.work|\.new-[0-9]+)?")
_ANSWERS = re.compile(r"[a-z]+-[0-9a-f]{16}")
_REMOVED = ".new-0"
"""What an output is called while it is removed: as unfinished as those of attempts, which count from 1."""


def main() -> int:
    """Clean up as the environment orders. Writes the termination message; returns the exit code."""
    StopFlag(at_once=True).install()
    return concluded(_clean_up)


def remove_outputs(root: Path, job: str) -> list[Path]:
    """Remove outputs, unfinished work and logged answers of `job` from the workspace at `root`; what was removed.

    A kill at any moment leaves what the next call removes, and never an output that looks complete and is not.
    """
    stages, answers = root / "stages", root / "answers"
    outputs, logs = _folders_of(job, stages), _answers_of(job, answers)
    for folder in outputs:
        _remove(folder)
        _remove_empty(folder.parent, stages)
    for folder in logs:
        shutil.rmtree(folder)
        _remove_empty(folder.parent, answers)
    folders = [*outputs, *logs]
    if folders and root.stat().st_uid == os.getuid():  # else the administrator made it, and other jobs may need it
        _remove_empty(root, root)
    return folders


def _clean_up() -> None:
    workspace, job = Workspace.from_env(), os.environ.get(JOB_ENV)
    if not job:
        raise InputError(f"environment variable {JOB_ENV} is not set: set it to the job's name")
    removed = remove_outputs(workspace.root, job)
    for folder in removed:
        print(f"removed {folder.relative_to(workspace.root)}")
    print(f"removed {len(removed)} folders of job {job} from {workspace.root}", flush=True)


def _folders_of(job: str, stages: Path) -> list[Path]:
    """The job's folders, in an order in which each is gone before the last one that tells whose it is."""
    found = []
    for group in _groups(stages):
        owners = {folder: owner for folder in group if (owner := _owner(folder, stages)) is not None}
        if job not in owners.values():
            continue
        alone = set(owners.values()) == {job}
        silent = [folder for folder in group if alone and folder not in owners]
        found += [*silent, *(folder for folder, owner in owners.items() if owner == job)]
    return found


def _answers_of(job: str, answers: Path) -> list[Path]:
    """The folders `<job>/<branch>/<who>-<digest>` of what endpoints have said; see `core.naming.answers_folder`."""
    branches = [] if answers.is_symlink() else _subfolders(answers / job)
    return [folder for branch in branches for folder in _subfolders(branch) if _ANSWERS.fullmatch(folder.name)]


def _subfolders(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def _groups(stages: Path) -> Iterator[list[Path]]:
    """The folders of each output: unfinished work, unfinished outputs, the output itself last."""
    for parent, names, _ in os.walk(stages):
        outputs: defaultdict[str, list[Path]] = defaultdict(list)
        for name in sorted(names, key=lambda name: ("." not in name, name)):
            folder, match = Path(parent, name), _FOLDER.fullmatch(name)
            if match and not folder.is_symlink():
                outputs[match["output"]].append(folder)
        names[:] = [name for name in names if not _FOLDER.fullmatch(name)]
        yield from outputs.values()


def _owner(folder: Path, stages: Path) -> str | None:
    """The job that a folder's lineage names; None where there is none, or it is the lineage of another place."""
    try:
        lineage = json.loads((folder / LINEAGE_FILE).read_bytes())
        job, stage, fingerprint = (lineage[key] for key in ("job", "stage", "fingerprint"))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    in_place = folder.parent == stages / stage and fingerprint.startswith(folder.name.partition(".")[0])
    return str(job) if in_place else None


def _remove(folder: Path) -> None:
    """Remove a folder, its lineage last."""
    if "." not in folder.name:  # an output is complete by its name
        folder = folder.rename(folder.with_name(f"{folder.name}{_REMOVED}"))
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LINEAGE_FILE:
            entry.unlink()
    (folder / LINEAGE_FILE).unlink(missing_ok=True)
    folder.rmdir()


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove `folder` and those above it up to `top`, as long as nothing is in them."""
    with contextlib.suppress(OSError):
        while folder.is_relative_to(top):
            folder.rmdir()
            folder = folder.parent


if __name__ == "__main__":
    sys.exit(main())

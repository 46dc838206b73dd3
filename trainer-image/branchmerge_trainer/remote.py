"""Models at an fsspec URI: copied into the workspace once, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from filelock import FileLock

from branchmerge.api.errors import InputError
from branchmerge_trainer.failures import TransientError

FOLDER = "downloads"
"""Below the workspace's root."""


def fetch_model(name: str, uri: str, root: Path, patterns: Collection[str]) -> Path:
    """The folder of the workspace `root` that holds the files at `uri` whose names match one of `patterns`.

    Whoever comes first copies them; others, of other stages and nodes too, wait for that.

    Raises InputError where nothing is there or the protocol cannot be spoken, TransientError where a store fails.
    """
    final = root / FOLDER / hashlib.sha256("\n".join([uri, *sorted(patterns)]).encode()).hexdigest()[:16]
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(final.with_suffix(".lock"), mode=0o666):
        if not final.is_dir():
            _copy(name, uri, final, patterns)
    return final


def _copy(name: str, uri: str, final: Path, patterns: Collection[str]) -> None:
    building = final.with_suffix(".new")
    shutil.rmtree(building, ignore_errors=True)  # of an attempt that was killed
    building.mkdir()
    try:
        files = _files(uri, patterns)
        for path, (store, source) in files.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            store.get_file(source, str(building / path))
    except (ImportError, ValueError) as error:  # no package speaks the protocol
        raise InputError(f"{name}: {uri}: {error}: choose another store, or add the package to the image") from None
    except PermissionError as error:
        raise InputError(f"{name}: {uri}: no permission: give the pods the store's credentials ({error})") from None
    except FileNotFoundError:
        files = {}
    except Exception as error:  # every store has errors of its own
        raise TransientError(f"{name}: {uri}: {type(error).__name__}: {error}") from error
    if not files:
        raise InputError(f"{name}: {uri}: no files of a model: give the folder of a Hugging Face model")
    building.rename(final)


def _files(uri: str, patterns: Collection[str]) -> dict[PurePosixPath, tuple[Any, str]]:
    """Path below the URI -> (file system, its name there)."""
    store, top = fsspec.core.url_to_fs(uri)
    found = {PurePosixPath(path).relative_to(PurePosixPath(top)): path for path in store.find(top)}
    return {
        below: (store, path) for below, path in found.items() if any(fnmatch(below.name, each) for each in patterns)
    }

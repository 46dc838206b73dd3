"""How the target folder comes about: in whole or not at all, and only once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RECORD = "build.json"
_MAKERS = ("domains", "files", "student", "tokenizer")


class TargetError(ValueError):
    """The target folder cannot be used."""


def fingerprint(seed: int) -> str:
    """Hash of all that the miniature is made from: the seed, and the modules that say what comes of it."""
    digest = hashlib.sha256(f"seed {seed}".encode())
    for module in _MAKERS:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()


def is_finished(target: Path, made_from: str) -> bool:
    """Whether `target` was made, and from what has this fingerprint.

    Raises TargetError where something that was not made here is in its place.
    """
    record = target / _RECORD
    if record.is_file():
        try:
            return bool(json.loads(record.read_text())["fingerprint"] == made_from)
        except (ValueError, LookupError, TypeError):
            raise TargetError(f"{record}: is no record of this script: remove {target}") from None
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise TargetError(f"{target}: is there, but was not made by this script: remove it or name another folder")
    return False


@contextmanager
def only_run(target: Path) -> Iterator[None]:
    """No other run makes something beside `target` meanwhile. Raises TargetError where one does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(target.parent, os.O_RDONLY)  # a lock on the folder itself leaves no file behind
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TargetError(f"{target}: another run is making it: wait until it is done") from None
    finally:
        os.close(lock)


@contextmanager
def atomic_folder(target: Path, made_from: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A new folder beside `target` that takes its place in the end, and the record that becomes its last file.

    A kill leaves no more than hidden folders, which the next run removes.
    """
    partial, stale = (target.parent / f".{target.name}.{state}" for state in ("partial", "stale"))
    for leftover in (partial, stale):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    record: dict[str, Any] = {"fingerprint": made_from}
    yield partial, record
    (partial / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
    if target.exists():
        target.rename(stale)
    partial.rename(target)
    shutil.rmtree(stale, ignore_errors=True)

"""Files that nobody ever sees half written, and disks that refuse, said in one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Record = TypeVar("Record", bound=BaseModel)

_REFUSALS = {
    errno.ENOSPC: "no space left: free some, or choose another disk with --workspace",
    errno.EDQUOT: "the disk quota is used up: raise it, or choose another disk with --workspace",
    errno.EROFS: "the file system is read-only: choose a writable folder with --workspace",
    errno.EACCES: "permission denied: give this user the right, or choose another folder with --workspace",
    errno.EPERM: "not permitted: give this user the right, or choose another folder with --workspace",
    errno.ENOTDIR: "a part of this path is a file: remove it, or choose another folder with --workspace",
    errno.EISDIR: "this is a folder where a file should be: remove it, or choose another folder with --workspace",
}


def refusal(error: OSError) -> str | None:
    """One line for people where a disk refused what it was asked, None for any other error."""
    if error.errno not in _REFUSALS:
        return None
    return f"{error.filename or 'disk'}: {_REFUSALS[error.errno]}"


def write_atomic(path: Path, content: str) -> None:
    """Write a text file such that a reader, or a crash, finds the old content or the new one, never a part.

    Raises OSError that names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_record(path: Path, model: type[Record]) -> Record | None:
    """The record in a JSON file; None where there is no file, or none that can be read as such a record."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

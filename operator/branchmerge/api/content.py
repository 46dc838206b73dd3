"""The digest of a file's or a folder's content, by which an input is known wherever it is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

_NO_CONTENT = frozenset({".md"})
"""Files of a model folder that nothing is computed from."""


def content_files(path: Path) -> list[Path]:
    """The file itself, or the files of a folder that count: no hidden ones, no prose."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file() and _counts(file.relative_to(path))]


def content_digest(path: Path, digests: Mapping[Path, str]) -> str:
    """sha256 (hex) of a file's bytes; of a folder's file names and digests. `digests` has sha256 of each file."""
    if not path.is_dir():
        return digests[path]
    return combined({file.relative_to(path).as_posix(): digest for file, digest in digests.items()})


def combined(digests: Mapping[str, str]) -> str:
    """sha256 (hex) of names and digests, in their order."""
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _counts(below: Path) -> bool:
    return below.suffix not in _NO_CONTENT and not any(part.startswith(".") for part in below.parts)

"""The cache outside the clone: programs and images that are made once, and never half-written."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/branchmerge`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "branchmerge"


def key_of(parts: Iterable[bytes]) -> str:
    """A short key of contents: it changes when any part does."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name; the kernel lets go of it when this process dies."""
    path = cache_root() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def appears_at(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final`; what the block leaves at `scratch / final.name` then takes its final place.

    What killed runs left beside it is removed first, so hold a lock of your own around it.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield scratch
        (scratch / final.name).rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

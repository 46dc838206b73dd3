"""The cache outside the clone: what is made once, and is whole or not there."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
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


def once(final: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is made once.

    Whoever makes something holds the lock of the folder around it, which the kernel takes back when that process dies.
    What it leaves half-made then has no final name, and the next maker removes it.

    Args:
        final: where it is; the last part of its name should be a key of what it is made of.
        make: called with an empty folder beside it, to fill; that one becomes `final` when it returns.
    """
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            _make(final, make)
    return final


def _make(final: Path, make: Callable[[Path], None]) -> None:
    for left in final.parent.glob(".*"):
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix=".", dir=final.parent))
    try:
        make(scratch)
        scratch.chmod(0o755)
        scratch.rename(final)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise

"""Atomic files, refusing disks, and the lock of a run folder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from branchmerge.api.errors import InputError
from branchmerge.local import lock
from branchmerge.local.files import refusal, write_atomic


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow, as on a full disk: the system call fails half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_atomic(file, "old")
    with full_disk(), pytest.raises(OSError, match=r"status\.json"):
        write_atomic(file, "n" * 100_000)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(OSError(errno.ENOSPC, "", "/run/x"), "/run/x: no space left", id="full disk"),
        pytest.param(OSError(errno.EROFS, "", "/run"), "/run: the file system is read-only", id="read-only"),
        pytest.param(PermissionError(errno.EACCES, "", "/run"), "/run: permission denied", id="no right"),
        pytest.param(OSError(errno.ENOSPC, ""), "disk: no space left", id="no name known"),
        pytest.param(OSError(errno.EBADF, ""), None, id="a mistake of ours"),
    ],
)
def test_a_disk_that_refuses_is_explained(error: OSError, said: str | None) -> None:
    line = refusal(error)
    assert (line or "").startswith(said or "")
    assert (line is None) == (said is None)


def test_a_lock_that_is_held_says_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.held(path):
        assert lock.holder(path) == os.getpid()
        with pytest.raises(InputError, match=str(os.getpid())), lock.held(path):
            pass
    assert lock.holder(path) is None


def test_a_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from branchmerge.local.lock import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock.holder(path) == holder.pid
        holder.kill()
    with lock.held(path):
        assert lock.holder(path) == os.getpid()


def test_nobody_holds_a_lock_that_is_not_there(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "lock") is None

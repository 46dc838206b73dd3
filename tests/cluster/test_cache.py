"""What is built once outside the clone is whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.build import ETCD, KUBERNETES
from localcluster.cache import cache_root, key_of, once
from localcluster.errors import CannotRunError
from localcluster.machine import require_nodes

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from localcluster.cache import once

def make(into):
    (into / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)

once(Path(sys.argv[1]), make)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    final = tmp_path / "tool"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(final)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not final.exists()
    assert once(final, lambda into: (into / "whole").touch()) == final
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "tool"}, "what the killed one left is gone"
    assert [path.name for path in final.iterdir()] == ["whole"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        once(tmp_path / "tool", lambda into: (into / "missing").unlink())
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[Path] = []
    assert once(tmp_path / "tool", made.append) == once(tmp_path / "tool", made.append)
    assert len(made) == 1


def test_a_key_tells_where_one_part_ends_and_the_next_begins() -> None:
    assert key_of([b"ab", b"c"]) != key_of([b"a", b"bc"])


def test_the_cache_is_where_the_user_wants_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "branchmerge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "branchmerge"


def test_versions_are_those_of_go_mod() -> None:
    assert (KUBERNETES.version, ETCD.version) == ("v1.36.3", "v3.6.13")


def test_a_user_who_is_not_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotRunError, match=r"user id 1000: nodes of a cluster need root; run this as root"):
        require_nodes()

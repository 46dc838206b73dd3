"""The miniature's folder is there in whole or not at all, is made once, and replaces nothing but itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from miniature.folder import TargetError, atomic_folder, fingerprint, is_finished, only_run

MAKE = Path(__file__).parents[2] / "examples" / "mini" / "make.py"


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, MAKE, *arguments], capture_output=True, text=True, timeout=60, check=False)


def build(target: Path, made_from: str, content: str = "whole") -> None:
    with atomic_folder(target, made_from) as (folder, record):
        (folder / "file").write_text(content)
        record["seed"] = 1


def test_a_folder_is_recognised_by_what_it_was_made_from(tmp_path: Path) -> None:
    target = tmp_path / "build"
    assert not is_finished(target, "a")
    build(target, "a")
    assert is_finished(target, "a")
    assert not is_finished(target, "b")
    assert json.loads((target / "build.json").read_text()) == {"fingerprint": "a", "seed": 1}


def test_a_folder_that_is_made_anew_replaces_the_old_one_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "build"
    build(target, "a", "old")
    (target / "extra").touch()
    build(target, "b", "new")
    assert is_finished(target, "b")
    assert sorted(path.name for path in target.iterdir()) == ["build.json", "file"]
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_the_old_folder_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "build"
    build(target, "a", "old")
    with suppress(InterruptedError), atomic_folder(target, "b") as (folder, _):
        (folder / "file").write_text("half")
        raise InterruptedError
    assert is_finished(target, "a")
    assert (target / "file").read_text() == "old"


def test_fingerprint_follows_the_seed() -> None:
    assert fingerprint(1) == fingerprint(1) != fingerprint(2)


def test_a_kill_leaves_nothing_that_counts_and_the_next_run_clears_it_away(tmp_path: Path) -> None:
    target = tmp_path / "build"
    with subprocess.Popen([sys.executable, MAKE, target], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".build.partial/eval/science.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".build.partial"]
    build(target, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_a_second_run_is_refused_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "build"
    with only_run(target):
        result = make(target)
    assert (result.returncode, result.stdout) == (64, "")
    assert result.stderr == f"make.py: {target}: another run is making it: wait until it is done\n"


def test_what_is_made_is_not_made_again_and_no_library_is_loaded_for_that(tmp_path: Path) -> None:
    target = tmp_path / "build"
    build(target, fingerprint(4))
    command = [sys.executable, "-X", "importtime", MAKE, target, "--seed", "4"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == f"{target} is made already\n"
    assert "miniature.folder" in result.stderr
    assert not any(library in result.stderr for library in ("torch", "transformers", "tokenizers"))


@pytest.mark.parametrize("kind", ["a folder of the user's", "a file"])
def test_what_was_not_made_here_is_left_alone(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "build"
    precious = target if kind == "a file" else target / "thesis.tex"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("years of work")
    result = make(target)
    assert result.returncode == 64
    assert f"{target}: is there, but was not made by this script" in result.stderr
    assert precious.read_text() == "years of work"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    target = tmp_path / "build"
    target.mkdir()
    assert not is_finished(target, "a")
    build(target, "a")
    assert is_finished(target, "a")


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = make(tmp_path / "file" / "build")
    assert result.returncode == 64
    assert result.stderr.startswith("make.py: ")
    assert str(tmp_path / "file") in result.stderr
    assert "Traceback" not in result.stderr


def test_damage_to_the_record_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    target = tmp_path / "build"
    build(target, "a")
    (target / "build.json").write_text("{")
    with pytest.raises(TargetError, match=r"build\.json.*remove"):
        is_finished(target, "a")

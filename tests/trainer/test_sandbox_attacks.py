"""Hostile programs: nothing gets out of the sandbox, and most of it would without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import attacks
from attacks import ATTACKS, ESCAPED, LIMITS, Attack, got_out, scene
from branchmerge_trainer.sandbox.program import Program
from branchmerge_trainer.sandbox.sandbox import Sandbox

SYSTEM_PYTHON = Path("/usr/bin/python3.11")
ORDINARY_USER = 65532


@pytest.fixture(scope="module")
def attacked() -> Iterator[dict[str, object]]:
    with scene() as found:
        yield found


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(LIMITS) as sandbox:
        yield sandbox


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS])
def test_an_attack_gets_nothing_and_leaves_nothing(
    attack: Attack, sandbox: Sandbox, attacked: dict[str, object]
) -> None:
    outside = Path(str(attacked["outside"]))
    before = {path.name: path.stat() for path in outside.iterdir()}
    run = sandbox.run(Program(attack.program, json.dumps(attacked)))
    assert got_out(attack, run) is None
    assert len(run.stdout) <= LIMITS.output_bytes
    assert run.seconds < LIMITS.wall_seconds + 5
    after = {path.name: path.stat() for path in outside.iterdir()}
    assert {name: (s.st_size, s.st_mode) for name, s in after.items()} == {
        name: (s.st_size, s.st_mode) for name, s in before.items()
    }
    (zygote,) = (child for child in psutil.Process().children() if "zygote" in " ".join(child.cmdline()))
    assert zygote.children() == []
    assert sandbox.run(Program("print(6 * 7)")).stdout == "42\n", "the next program is not concerned"


def test_files_of_high_numbers_are_closed_too() -> None:
    (attack,) = (attack for attack in ATTACKS if attack.name == "files that it inherited")
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]  # as a process with many has them
    try:
        with Sandbox(LIMITS) as sandbox:
            run = sandbox.run(Program(attack.program, "{}"))
    finally:
        for file in files:
            os.close(file)
    assert run.succeeded
    assert ESCAPED not in run.stdout


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS if attack.control])
def test_the_same_attack_succeeds_without_the_sandbox(attack: Attack, tmp_path: Path) -> None:
    with scene() as attacked:
        run = subprocess.run(
            [sys.executable, "-c", attack.program],
            input=json.dumps(attacked),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"TEACHER_API_KEY": "SECRET"},
        )
    assert ESCAPED in run.stdout, run.stderr


@pytest.mark.skipif(os.getuid() != 0 or not SYSTEM_PYTHON.exists(), reason="needs root, to become an ordinary user")
def test_an_ordinary_user_is_protected_as_well_as_root(tmp_path: Path) -> None:
    code = Path(__file__).parents[2] / "trainer-image" / "branchmerge_trainer"
    shutil.copytree(code / "sandbox", tmp_path / "branchmerge_trainer" / "sandbox")
    shutil.copy(code / "__init__.py", tmp_path / "branchmerge_trainer")
    shutil.copy(attacks.__file__, tmp_path)
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:3]:
        folder.chmod(folder.stat().st_mode | 0o011)
    run = subprocess.run(
        [SYSTEM_PYTHON, tmp_path / "attacks.py"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        user=ORDINARY_USER,
        group=ORDINARY_USER,
        extra_groups=[],
        cwd="/",
        env={"HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert run.returncode == 0, run.stderr
    *endings, summary = map(json.loads, run.stdout.splitlines())
    assert len(endings) == len(ATTACKS)
    assert [ending["problem"] for ending in endings if ending["problem"]] == []
    assert (summary["isolated"], summary["user"], summary["precious"]) == (True, ORDINARY_USER, "precious")


def test_neither_a_program_nor_its_folder_outlives_whoever_runs_it(tmp_path: Path) -> None:
    script = (
        "from branchmerge_trainer.sandbox.program import Limits, Program\n"
        "from branchmerge_trainer.sandbox.sandbox import Sandbox\n"
        "sandbox = Sandbox(Limits(wall_seconds=100))\n"
        "print(flush=True)\n"
        "sandbox.run(Program('import time; time.sleep(60)'))\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        descendants: list[psutil.Process] = []
        while len(descendants) < 2:
            descendants = psutil.Process(owner.pid).children(recursive=True)
        assert list(tmp_path.iterdir())
        owner.kill()
    deadline = time.monotonic() + 10
    while any(map(alive, descendants)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, descendants))
    assert list(tmp_path.iterdir()) == []


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

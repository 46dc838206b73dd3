"""`branchmerge run` as a process: to the end, interrupted, killed, and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from commandline import CommandLine
from jobfolder import STAGES, make_folder, write_rows

Factory = Callable[..., CommandLine]
SLOW = {"steps": 200, "seconds": 0.05}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Factory]:
    """A folder with a job, and a command line in it."""
    line = CommandLine(tmp_path, {})

    def factory(quick: dict[str, Any] | None = None, spec: dict[str, Any] | None = None) -> CommandLine:
        make_folder(tmp_path, spec)
        line.quick = quick or {}
        return line

    yield factory
    left = [process.pid for process in line.processes()]
    line.end()
    assert left == [], "no process may be left of any test"


def test_a_job_runs_to_its_end_and_a_second_run_does_nothing(make: Factory) -> None:
    line = make()
    first = line.type("run", "job.yaml")
    assert first.returncode == 0, first.stdout + first.stderr
    for stage in STAGES:
        assert f"{stage}: done" in first.stdout
    assert "merged" in first.stdout
    assert "0.500 [0.400, 0.600]" in first.stdout
    assert "report.html" in first.stdout
    done, attempts = line.steps(), line.attempts()
    status = (line.workspace / "status.json").read_bytes()
    before = os.times()
    again = line.type("run", "job.yaml")
    after = os.times()
    assert again.returncode == 0
    assert "0.500 [0.400, 0.600]" in again.stdout
    assert (line.steps(), line.attempts()) == (done, attempts)
    assert (line.workspace / "status.json").read_bytes() == status
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    assert processor < 2.0, "seconds; of processor time, because other tests may run beside this one"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_after_a_checkpoint_and_the_same_command_goes_on(make: Factory, number: int) -> None:
    line = make({"train/math": SLOW | {"steps": 40}, "train/coding": {}})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("train/math", 5)
    run.send_signal(number)
    output, _ = run.communicate(timeout=90)
    assert run.returncode == 130
    assert "same command" in output
    assert line.processes() == []
    assert line.type("run", "job.yaml").returncode == 0
    assert set(line.steps().values()) == {1}, "no step is done twice"


def test_a_second_signal_kills(make: Factory) -> None:
    line = make({"train/math": SLOW | {"stubborn": True, "ranks": 1}})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("train/math", 2)
    run.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert run.poll() is None, "it waits for the checkpoint"
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=90)
    assert run.returncode == 130
    assert line.processes() == []


def test_a_second_run_of_the_same_folder_is_refused(make: Factory) -> None:
    line = make({"curate/math": SLOW})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 1)
    second = line.type("run", "job.yaml")
    assert second.returncode == 64
    assert f"another `branchmerge run` (process {run.pid})" in second.stderr
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=90)


@pytest.mark.parametrize("seed", range(2))
def test_killing_the_command_line_at_any_moment_costs_nothing(make: Factory, seed: int) -> None:
    line = make({"*": {"steps": 8, "seconds": 0.05}})
    moments = random.Random(seed)
    for _ in range(3):
        run = line.begin("run", "job.yaml")
        time.sleep(moments.uniform(0.3, 3.0))
        run.kill()
        run.communicate()
    assert line.type("run", "job.yaml").returncode == 0
    assert set(line.steps().values()) == {1}, "attempts go on without it, and the next one takes them over"
    assert {attempt["number"] for attempt in line.attempts()} == {1}


@pytest.mark.parametrize("seed", range(2))
def test_killing_everything_at_any_moment_costs_no_more_than_a_checkpoint_interval(make: Factory, seed: int) -> None:
    line = make({"*": {"steps": 8, "seconds": 0.05, "every": 4, "ranks": 1}})
    moments = random.Random(seed)
    kills = 3
    for _ in range(kills):
        run = line.begin("run", "job.yaml")
        time.sleep(moments.uniform(0.5, 3.0))
        run.kill()
        for process in line.processes():
            process.kill()
        run.communicate()
    assert line.type("run", "job.yaml").returncode == 0
    steps = line.steps()
    assert len(steps) == 8 * len(STAGES)
    assert max(steps.values()) <= 1 + kills
    assert sum(steps.values()) - len(steps) <= kills * 2 * 4, "two stages at a time, four steps between checkpoints"


def test_a_failed_stage_shows_its_words_its_log_and_what_to_do(make: Factory) -> None:
    line = make({"train/math": {"exit": 1, "message": "the loss is NaN"}}, {"retry": {"failures": 0}})
    run = line.type("run", "job.yaml")
    assert run.returncode == 1
    assert "error: train/math: failed 1 times" in run.stderr
    assert "the loss is NaN" in run.stderr
    assert "branchmerge logs job.yaml train/math" in run.stdout
    assert "Told: the loss is NaN" in run.stdout, "the end of the log"


def test_a_failed_stage_is_tried_again_and_a_person_may_ask_anew(make: Factory) -> None:
    line = make({"train/math": {"exit": 1, "fail_first": 3}}, {"retry": {"failures": 1, "backoffSeconds": 0}})
    assert line.type("run", "job.yaml").returncode == 1
    assert sum(attempt["stage"] == "train/math" for attempt in line.attempts()) == 2
    assert line.type("run", "job.yaml").returncode == 0
    assert sum(attempt["stage"] == "train/math" for attempt in line.attempts()) == 4


def test_wrong_input_that_only_the_stage_can_see_is_bad_input(make: Factory) -> None:
    line = make({"curate/math": {"exit": 64, "message": "row 7: no column 'messages': set columns"}})
    run = line.type("run", "job.yaml")
    assert run.returncode == 64
    assert "row 7: no column 'messages': set columns" in run.stderr
    assert sum(attempt["stage"] == "curate/math" for attempt in line.attempts()) == 1, "never tried again"


def test_an_edit_runs_again_only_what_follows_from_it(make: Factory) -> None:
    line = make()
    line.type("run", "job.yaml")
    before = line.steps()
    file = line.folder / "job.yaml"
    file.write_text(file.read_text().replace("recipe:", "seed: 7\n    recipe:"))
    assert line.type("run", "job.yaml").returncode == 0
    repeated = {key.split()[0] for key, count in line.steps().items() if count > before.get(key, 0)}
    assert repeated == {"merge/final", "evaluate/merged", "report"}


def test_missing_input_starts_nothing(make: Factory) -> None:
    line = make()
    write_rows(line.folder / "data" / "math.jsonl", [])
    run = line.type("run", "job.yaml")
    assert run.returncode == 64
    assert run.stderr.count("error:") == 1
    assert "Traceback" not in run.stderr
    assert line.attempts() == []


def test_a_workspace_that_cannot_be_written_is_one_message(make: Factory) -> None:
    line = make()
    (line.folder / "file").write_text("")
    run = line.type("run", "job.yaml", "--workspace", "file/run")
    assert (run.returncode, run.stderr.count("\n")) == (64, 1)
    assert "choose another folder with --workspace" in run.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


def test_a_disk_that_fills_up_is_one_message_and_leaves_no_process(make: Factory, small_disk: Path) -> None:
    line = make({"*": SLOW})
    line.run_folder = small_disk / "run"
    run = line.begin("run", "job.yaml", "--workspace", str(line.run_folder))
    line.wait_for_step("curate/math", 3)
    with (small_disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    run.send_signal(signal.SIGINT)  # has it write down that it stops
    output, _ = run.communicate(timeout=90)
    assert run.returncode == 64
    assert "no space left: free some" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert line.processes() == []
    again = line.type("run", "job.yaml", "--workspace", str(line.run_folder))
    assert (again.returncode, again.stderr.count("\n")) == (64, 1)
    assert "no space left: free some" in again.stderr
    (small_disk / "fill").unlink()
    line.quick = {"*": {"steps": 1}}
    assert line.type("run", "job.yaml", "--workspace", str(line.run_folder)).returncode == 0


def test_a_disk_without_enough_room_is_refused_with_figures(make: Factory, small_disk: Path) -> None:
    line = make()
    (small_disk / "fill").write_bytes(bytes(40 << 20))
    run = line.type("run", "job.yaml", "--workspace", str(small_disk / "run"))
    assert run.returncode == 64
    assert "the job needs about 64.0 MiB more, but 40" in run.stderr
    assert not (small_disk / "run" / "attempts").exists()


def test_a_record_that_cannot_be_written_is_one_message_and_leaves_no_process(make: Factory) -> None:
    line = make({"*": SLOW})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 3)
    attempts = line.workspace / "attempts"
    for folder in attempts.iterdir():
        (folder / "attempt.json").unlink()
        (folder / "attempt.json").mkdir()
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=90)
    assert run.returncode == 64
    assert output.splitlines()[-1].startswith("error: ")
    assert "attempt.json" in output
    assert "Traceback" not in output
    assert line.processes() == []


def test_a_suspended_job_is_not_run(make: Factory) -> None:
    line = make(spec={"suspend": True})
    run = line.type("run", "job.yaml")
    assert run.returncode == 64
    assert "spec.suspend: true" in run.stderr


def test_there_is_no_silence_of_more_than_five_seconds(make: Factory) -> None:
    line = make({"*": {"steps": 1}, "curate/math": {"steps": 2, "seconds": 6.0}})
    run = line.begin("run", "job.yaml")
    assert run.stdout is not None
    longest = 0.0
    with run:
        run.stdout.readline()  # before it Python starts, which takes as long as a busy machine lets it
        heard = time.monotonic()
        for _ in run.stdout:
            longest = max(longest, time.monotonic() - heard)
            heard = time.monotonic()
    assert run.returncode == 0
    assert longest < 5.0

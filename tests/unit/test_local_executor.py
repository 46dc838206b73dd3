"""Attempts as real processes: how they end, how they are stopped, and who finds them again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from branchmerge.api.compute import Resources
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Attempt, AttemptState, Discard, FailureClass, Start, Stop
from branchmerge.core.plan import plan
from branchmerge.local import processes
from branchmerge.local.capacity import Capacity
from branchmerge.local.executor import LocalExecutor
from branchmerge.local.layout import RunFolder
from branchmerge.local.machine import Machine
from builders import make_job

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
"""A test that drops an executor as if its process were killed also drops handles of its children."""

TRAINER = (sys.executable, str(Path(__file__).parents[1] / "quick_trainer.py"))
STAGE = "curate/math"
SLOW = {"steps": 10_000, "seconds": 0.02}


class Bench:
    """An executor in a folder of its own, and the first stages of a job to start."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self.job = make_job()
        self.executor = self.new_executor()

    def new_executor(self, **fields: Any) -> LocalExecutor:
        """What a command line makes that starts on the same folder."""
        self.folder.root.mkdir(exist_ok=True)
        known: dict[str, Any] = {"command": TRAINER, "capacity": Capacity(Machine(8, 1 << 40), 8, None)}
        self.executor = LocalExecutor(
            self.folder, self.folder.root, pins={}, started_at=datetime.now(UTC), **(known | fields)
        )
        return self.executor

    def action(self, name: str = STAGE, resources: Resources | None = None) -> Start:
        """The start of a stage as the plan asks for it now."""
        observation = asyncio.run(self.executor.observe(self.job))
        actions = plan(self.job, build_graph(self.job, {}, observation.results), observation).actions
        action = next(each for each in actions if isinstance(each, Start) and each.stage.name == name)
        if resources is not None:
            action = dataclasses.replace(action, stage=dataclasses.replace(action.stage, resources=resources))
        return action

    def start(self, action: Start | None = None) -> bool:
        return asyncio.run(self.executor.start(action or self.action()))

    def observe(self) -> Attempt:
        """The newest attempt."""
        return asyncio.run(self.executor.observe(self.job)).attempts[-1]

    def until(self, condition: Callable[[Attempt], bool], seconds: float = 60.0) -> Attempt:
        end = time.monotonic() + seconds
        while not condition(attempt := self.observe()):
            assert time.monotonic() < end, f"still {attempt} after {seconds} s"
            time.sleep(0.03)
        return attempt

    def ended(self) -> Attempt:
        return self.until(lambda attempt: not attempt.active)

    def training(self) -> Attempt:
        return self.until(lambda attempt: bool(attempt.progress and attempt.progress.step))

    def stop(self, grace_seconds: int = 20) -> None:
        asyncio.run(self.executor.stop(Stop(self.observe(), "Suspended", grace_seconds)))

    @property
    def attempt_folder(self) -> Path:
        return self.folder.attempts / self.observe().child_name

    def processes(self) -> list[psutil.Process]:
        return [each for folder in self.folder.attempts.iterdir() for each in processes.marked(folder)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "run")
    yield bench
    bench.executor.kill()
    assert bench.processes() == []


def quick(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    monkeypatch.setenv("QUICK", json.dumps({STAGE: settings}))


def test_an_attempt_that_ends_well_has_its_result_in_the_same_observation(bench: Bench) -> None:
    assert bench.start()
    attempt = bench.ended()
    observation = asyncio.run(bench.executor.observe(bench.job))
    assert (attempt.state, attempt.failure) == (AttemptState.SUCCEEDED, None)
    assert attempt.key in observation.results
    assert attempt.first_step_at is not None
    assert attempt.progress is not None
    assert attempt.progress.step == 2


@pytest.mark.parametrize(
    ("settings", "failure", "reason"),
    [
        pytest.param({"exit": 64, "message": "no column"}, FailureClass.PERMANENT, "Told", id="the user is wrong"),
        pytest.param({"exit": 75}, FailureClass.FAILURE, "Told", id="something outside failed"),
        pytest.param({"exit": 1}, FailureClass.FAILURE, "Told", id="it failed"),
        pytest.param({"exit": 137}, FailureClass.FAILURE, "Told", id="a rank was killed"),
        pytest.param({"exit": 143}, FailureClass.DISRUPTION, "Told", id="stopped, but not by us"),
        pytest.param({"dies": signal.SIGKILL}, FailureClass.DISRUPTION, "Killed", id="killed from outside"),
        pytest.param({"dies": signal.SIGSEGV}, FailureClass.FAILURE, "Crashed", id="crashed"),
    ],
)
def test_how_an_attempt_ended_is_classified(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], failure: FailureClass, reason: str
) -> None:
    quick(monkeypatch, **settings)
    bench.start()
    attempt = bench.ended()
    assert (attempt.state, attempt.failure, attempt.reason) == (AttemptState.FAILED, failure, reason)
    assert attempt.message == settings.get("message", attempt.message)


def test_starting_twice_starts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, **SLOW)
    action = bench.action()
    assert bench.start(action)
    assert bench.start(action)
    assert len(bench.processes()) == 1


def test_a_node_gets_the_environment_of_the_training_operator(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, **SLOW)
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "foreign")
    bench.start()
    environ = bench.processes()[0].environ()
    folder = bench.attempt_folder
    assert {name: environ[name] for name in ("RANK", "WORLD_SIZE", "PET_NNODES", "PET_NPROC_PER_NODE")} == {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "PET_NNODES": "1",
        "PET_NPROC_PER_NODE": "1",
    }
    assert environ["MASTER_ADDR"] == environ["PET_MASTER_ADDR"] == "127.0.0.1"
    assert environ["MASTER_PORT"] == environ["PET_MASTER_PORT"] != "0"
    assert environ["OMP_NUM_THREADS"] == "1"
    assert environ["BRANCHMERGE_WORKSPACE"] == str(bench.folder.root)
    assert environ["BRANCHMERGE_PROGRESS_FILE"] == str(folder / "progress.json")
    assert environ["BRANCHMERGE_TERMINATION_LOG"] == str(folder / "outcome.json")
    assert "TORCHELASTIC_RUN_ID" not in environ


def test_a_stop_lets_it_save_and_spends_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, steps=1000, seconds=0.5)
    bench.start()
    bench.training()
    bench.stop()
    assert bench.observe().state is AttemptState.STOPPING
    attempt = bench.ended()
    assert (attempt.failure, attempt.reason, attempt.message) == (FailureClass.STOPPED, "Stopped", "Suspended")
    assert "saved step" in (bench.attempt_folder / "node-0.log").read_text()


def test_one_that_does_not_stop_is_killed_after_the_grace_period_with_all_its_ranks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, **SLOW, stubborn=True, ranks=2)
    bench.start()
    bench.training()
    assert len(bench.processes()) == 3
    bench.stop(grace_seconds=1)
    attempt = bench.ended()
    assert attempt.failure is FailureClass.STOPPED
    assert bench.processes() == []


def test_ranks_do_not_outlive_a_launcher_that_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, **SLOW, ranks=2)
    bench.start()
    bench.training()
    launcher = processes.leaders(bench.attempt_folder)[0]
    os.kill(launcher.pid, signal.SIGKILL)
    attempt = bench.ended()
    assert (attempt.failure, attempt.reason) == (FailureClass.DISRUPTION, "Killed")
    assert bench.processes() == []


def test_the_next_command_line_adopts_an_attempt_that_still_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, steps=40, seconds=0.05)
    bench.start()
    first = bench.training()
    bench.new_executor()
    assert bench.observe().state is AttemptState.RUNNING
    attempt = bench.ended()
    assert (attempt.state, attempt.number) == (AttemptState.SUCCEEDED, first.number)


def test_one_that_was_killed_before_it_could_write_down_its_process_is_adopted_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, **SLOW)
    bench.start()
    bench.training()
    record = bench.attempt_folder / "attempt.json"
    content = json.loads(record.read_text())
    content["processes"] = []
    record.write_text(json.dumps(content))
    bench.new_executor()
    assert bench.observe().state is AttemptState.RUNNING
    bench.stop()
    assert bench.ended().failure is FailureClass.STOPPED


def test_an_attempt_that_was_decided_but_never_started_is_a_disruption(bench: Bench) -> None:
    bench.start()
    bench.ended()
    record = bench.attempt_folder / "attempt.json"
    content = {key: value for key, value in json.loads(record.read_text()).items() if key not in ("end", "progress")}
    record.write_text(json.dumps(content | {"processes": [], "output": "stages/none/0123456789abcdef"}))
    (bench.attempt_folder / "outcome.json").unlink()
    bench.new_executor()
    assert (bench.observe().failure, bench.observe().reason) == (FailureClass.DISRUPTION, "Vanished")


@pytest.mark.parametrize(
    ("settings", "failure"),
    [
        pytest.param({}, None, id="well"),
        pytest.param({"exit": 64}, FailureClass.PERMANENT, id="wrong input"),
        pytest.param({"exit": 1}, FailureClass.FAILURE, id="failure"),
        pytest.param({"dies": signal.SIGKILL}, FailureClass.DISRUPTION, id="killed"),
    ],
)
def test_how_an_attempt_ended_that_nobody_watched_is_learnt_from_what_it_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], failure: FailureClass | None
) -> None:
    quick(monkeypatch, **settings)
    bench.start()
    handle = next(iter(bench.executor._handles.values()))
    handle.wait(10)
    before = datetime.now(UTC)
    bench.new_executor()
    attempt = bench.observe()
    assert attempt.failure is failure
    assert attempt.ended_at is not None
    assert attempt.ended_at < before


def test_a_record_that_is_cut_off_is_no_attempt(bench: Bench) -> None:
    bench.start()
    bench.ended()
    record = bench.attempt_folder / "attempt.json"
    record.write_text(record.read_text()[:40])
    bench.new_executor()
    assert asyncio.run(bench.executor.observe(bench.job)).attempts == ()


def test_two_nodes_end_together_when_one_of_them_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICK", json.dumps({STAGE: {}, "train/math": SLOW}))
    bench.start()
    bench.ended()
    bench.start(bench.action("train/math", Resources(nodes=2)))
    bench.training()
    nodes = processes.leaders(bench.attempt_folder)
    assert sorted(nodes) == [0, 1]
    assert [psutil.Process(nodes[node].pid).environ()["PET_NODE_RANK"] for node in (0, 1)] == ["0", "1"]
    os.kill(nodes[1].pid, signal.SIGSEGV)
    attempt = bench.ended()
    assert (attempt.failure, attempt.reason) == (FailureClass.FAILURE, "Crashed")
    assert (bench.attempt_folder / "node-1.log").exists()


def test_a_command_that_cannot_be_started_is_a_failed_attempt(bench: Bench) -> None:
    bench.new_executor(command=("/nowhere/python",))
    bench.start()
    attempt = bench.observe()
    assert (attempt.failure, attempt.reason) == (FailureClass.FAILURE, "CannotStart")
    assert "/nowhere/python" in attempt.message


def test_there_is_room_for_as_many_as_capacity_allows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICK", json.dumps({"*": SLOW}))
    bench.new_executor(capacity=Capacity(Machine(2, 1 << 40), 2, None))
    started = [bench.start(bench.action(f"curate/{branch}")) for branch in ("math", "coding", "science")]
    assert started == [True, True, False]


def test_discarding_forgets_the_attempt_and_keeps_the_output(bench: Bench) -> None:
    bench.start()
    attempt = bench.ended()
    asyncio.run(bench.executor.discard(Discard(attempt)))
    observation = asyncio.run(bench.executor.observe(bench.job))
    assert observation.attempts == ()
    assert attempt.key in observation.results
    bench.new_executor()
    assert asyncio.run(bench.executor.observe(bench.job)).attempts == ()


def test_what_an_earlier_run_left_in_the_folder_of_an_attempt_is_not_taken_for_its_own(bench: Bench) -> None:
    bench.start()
    attempt = bench.ended()
    (bench.attempt_folder / "attempt.json").unlink()
    bench.new_executor(command=(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    (bench.folder.root / "stages").rename(bench.folder.root / "elsewhere")
    bench.start()
    again = bench.ended()
    assert again.child_name == attempt.child_name
    assert again.failure is FailureClass.DISRUPTION


def test_time_that_nobody_watched_counts_up_to_the_last_sign_of_life(bench: Bench) -> None:
    bench.start()
    bench.executor._handles.popitem()[1].wait(10)
    folder = next(bench.folder.attempts.iterdir())
    record = folder / "attempt.json"
    past = datetime.now(UTC) - timedelta(hours=1)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"startedAt": past.isoformat()}))
    for file in folder.iterdir():
        os.utime(file, (past.timestamp(), past.timestamp()))
    bench.new_executor()
    ended_at = bench.observe().ended_at
    assert ended_at is not None
    assert timedelta(minutes=59) < datetime.now(UTC) - ended_at < timedelta(minutes=61)

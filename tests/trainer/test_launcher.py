"""The launcher and its ranks as real processes: exit codes, signals, kills, and what the termination message says."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ExitCode, Outcome
from branchmerge.local.environment import free_port
from branchmerge_trainer.launcher import Placement, first_failure
from training import Bench, history

PATIENCE_SECONDS = 120
LONG = {"maxSteps": 100_000, "checkpoint": {"everySteps": 50_000, "gracePeriodSeconds": 60}}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def launched(bench: Bench) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a launcher; it and its ranks are gone after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str, ranks: int, environment: dict[str, str] | None = None, **changes: Any) -> Any:
        for file in ("outcome.json", "progress.json"):
            (bench.root / file).unlink(missing_ok=True)
        processes.append(bench.start(bench.config(name, **changes), ranks=ranks, **(environment or {})))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and log."""
    log, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, log


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "branchmerge_trainer.rank" in child.cmdline()]


def listens(process: subprocess.Popen[str], port: int) -> bool:
    """Whether the node waits for the others at its port."""
    return any(
        each.status == "LISTEN" and each.laddr.port == port
        for each in psutil.net_connections("tcp")
        if each.pid == process.pid
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def trains(bench: Bench) -> bool:
    try:
        progress = json.loads((bench.root / "progress.json").read_bytes())
    except FileNotFoundError:
        return False
    return progress["phase"] == "training" and (progress.get("step") or 0) > 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_done_is_0_and_a_finished_stage_is_not_repeated(bench: Bench, launched: Any, ranks: int) -> None:
    code, log = ended(launched(f"done-{ranks}", ranks))
    assert code == ExitCode.DONE, log
    outcome = bench.outcome()
    assert outcome.reason == "Completed"
    assert outcome.result is not None
    assert outcome.result.figures["steps"] == len(history(bench.output(f"done-{ranks}")))
    assert "Traceback" not in log
    assert "Warning" not in log
    again, log = ended(launched(f"done-{ranks}", ranks))
    assert (again, log) == (ExitCode.DONE, "")
    assert bench.outcome() == outcome


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_mistake_of_the_user_is_64_and_one_line(bench: Bench, launched: Any, ranks: int) -> None:
    code, log = ended(launched("mistake", ranks, globalBatchSize=7))
    assert code == ExitCode.INPUT
    (line,) = log.splitlines()
    assert line.startswith("InvalidInput: training.globalBatchSize: 7 is no multiple of")
    assert bench.outcome().message in line


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_may_pass_is_75(bench: Bench, launched: Any, ranks: int) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    (bench.root / "student").rename(bench.root / "hidden")
    try:
        code, log = ended(launched("offline", ranks, nowhere))
    finally:
        (bench.root / "hidden").rename(bench.root / "student")
    assert code == ExitCode.TRANSIENT, log
    assert bench.outcome().reason == "Transient"


@pytest.mark.parametrize("ranks", [1, 2])
def test_sigterm_is_143_after_a_checkpoint(bench: Bench, launched: Any, ranks: int) -> None:
    process = launched(f"stopped-{ranks}", ranks, **LONG)
    wait_until(lambda: trains(bench), process)
    process.send_signal(signal.SIGTERM)
    code, log = ended(process)
    assert code == ExitCode.INTERRUPTED, log
    assert bench.outcome().message.endswith("its checkpoint is kept")
    (checkpoint,) = (bench.root / bench.config(f"stopped-{ranks}").work / "checkpoints").iterdir()
    assert (checkpoint / "complete.json").exists()
    assert log.splitlines()[-1].startswith("Interrupted: stopped after step ")
    assert not [line for line in log.splitlines() if not line.startswith(("branch ", "training ", "step ", "Interr"))]


def test_two_nodes_train_together(bench: Bench, launched: Any) -> None:
    port = str(free_port())
    nodes = [
        launched(
            "nodes",
            1,
            {
                "PET_NNODES": "2",
                "PET_NODE_RANK": str(node),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": port,
                "BRANCHMERGE_TERMINATION_LOG": str(bench.root / f"outcome-{node}.json"),
            },
        )
        for node in range(2)
    ]
    assert [ended(node)[0] for node in nodes] == [ExitCode.DONE] * 2
    assert len(history(bench.output("nodes"))) == 6


def test_sigterm_ends_a_node_that_waits_for_another_one_at_once(bench: Bench, launched: Any) -> None:
    port = free_port()
    alone = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    process = launched("alone", 1, alone)
    wait_until(lambda: listens(process, port), process)
    process.send_signal(signal.SIGTERM)
    code, log = ended(process)
    assert code == ExitCode.INTERRUPTED, log
    assert bench.outcome().message == "stopped while it waited for other nodes"


@pytest.mark.parametrize("at", ["launcher", "ranks"])
def test_sigterm_before_the_first_step_is_143_too(bench: Bench, launched: Any, at: str) -> None:
    process = launched("stopped-early", 2, **LONG)
    if at == "ranks":
        wait_until(lambda: len(ranks_of(process)) == 2, process)
    else:
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code, log = ended(process)
    assert code in (ExitCode.INTERRUPTED, -signal.SIGTERM), log
    assert "Traceback" not in log


def test_a_rank_that_is_killed_is_told_and_takes_the_others_along(bench: Bench, launched: Any) -> None:
    process = launched("killed", 2, **LONG)
    wait_until(lambda: trains(bench), process)
    ranks = ranks_of(process)
    ranks[1].kill()
    code, log = ended(process)
    assert code == 128 + signal.SIGKILL, log
    assert "died of SIGKILL: out of memory, or killed from outside" in bench.outcome().message
    assert not any(rank.is_running() for rank in ranks)


def test_no_rank_outlives_its_launcher(bench: Bench, launched: Any) -> None:
    process = launched("orphaned", 2, **LONG)
    wait_until(lambda: len(ranks_of(process)) == 2, process)
    ranks = ranks_of(process)
    process.kill()
    process.wait()
    assert psutil.wait_procs(ranks, timeout=10)[1] == []


def outcome(code: int, reason: str = "Error") -> Outcome:
    return Outcome(exit_code=code, reason=reason)


LOST_PEER = outcome(1, "LostPeer")


@pytest.mark.parametrize(
    ("exit_codes", "outcomes", "expected"),
    [
        pytest.param({0: 64}, {0: outcome(64)}, 64, id="the-users-mistake"),
        pytest.param({0: 1, 1: 64}, {0: LOST_PEER, 1: outcome(64)}, 64, id="the-mistake-explains-the-lost-peer"),
        pytest.param({0: 75, 1: 143}, {1: outcome(143), 0: outcome(75)}, 75, id="the-stopped-one-only-followed"),
        pytest.param({0: 143, 1: 143}, {0: outcome(143), 1: outcome(143)}, 143, id="all-stopped"),
        pytest.param({0: -9}, {}, 137, id="killed"),
        pytest.param({0: 1, 1: -9}, {0: LOST_PEER}, 137, id="the-killed-one-explains-the-lost-peer"),
        pytest.param({0: -11, 1: -15}, {}, 139, id="crashed"),
        pytest.param({0: -15}, {}, 143, id="stopped-before-it-could-say-so"),
        pytest.param({0: 3}, {}, 3, id="exited-without-a-word"),
    ],
)
def test_which_rank_explains_the_failure(
    exit_codes: dict[int, int], outcomes: dict[int, Outcome], expected: int
) -> None:
    assert first_failure(exit_codes, outcomes).exit_code == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"PET_NPROC_PER_NODE": "auto"}, "PET_NPROC_PER_NODE: 'auto' is no whole number", id="no-number"),
        pytest.param({"PET_NNODES": "2"}, "PET_MASTER_PORT is not set", id="two-nodes-without-a-port"),
    ],
)
def test_a_wrong_placement_is_told(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Placement.from_env(environment)


def test_a_placement_of_the_training_operator() -> None:
    environment = {
        "PET_NNODES": "2",
        "PET_NODE_RANK": "1",
        "PET_NPROC_PER_NODE": "8",
        "PET_MASTER_ADDR": "demo-master-0",
        "PET_MASTER_PORT": "23456",
    }
    assert Placement.from_env(environment) == Placement(2, 1, 8, "demo-master-0", 23456)

"""A whole job with the real trainer, killed at random points: it ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from commandline import CommandLine
from picojob import EVERY_STEPS, MAX_STEPS, NAME, make_pico

BRANCHES = ("upper", "mirror")
LAST_KILL = 200
"""Step up to which training is killed: progress is told three times a second, so a kill comes some steps later."""
pytestmark = pytest.mark.timeout(1800)  # two minutes on two idle cores
_STARTED_FROM = re.compile(r"^training from step (\d+) to", re.MULTILINE)


@dataclass
class PicoRun:
    """The job in a folder of its own, and what can be seen of it from outside."""

    line: CommandLine
    process: Popen[str] | None = None
    checkpoints: dict[str, list[int]] = field(default_factory=dict)
    """Branch -> newest checkpoint at each kill of its training."""

    @property
    def root(self) -> Path:
        return self.line.workspace

    def begin(self) -> None:
        self.process = self.line.begin("run", "job.yaml")

    def finish(self) -> str:
        """Wait for the command to end well. Returns what it printed."""
        assert self.process is not None
        output, _ = self.process.communicate(timeout=900)
        assert self.process.returncode == 0, output
        return output

    def attempts(self, stage: str = "") -> list[dict[str, Any]]:
        """Records of a stage's attempts, oldest first."""
        files = self.root.glob("attempts/*/attempt.json")
        records = [json.loads(file.read_text()) for file in files]
        return sorted((each for each in records if each["stage"].startswith(stage)), key=lambda each: each["number"])

    def steps(self, branch: str) -> int:
        """Optimizer steps that its newest attempt has done."""
        if list(self.root.glob(f"stages/train/{branch}/*/result.json")):
            return MAX_STEPS
        folders = sorted(self.root.glob(f"attempts/{NAME}-train-{branch}-*"), key=lambda path: path.stat().st_mtime)
        try:
            progress = json.loads((folders[-1] / "progress.json").read_text())
        except (IndexError, FileNotFoundError):
            return 0
        return progress.get("step") or 0 if progress["phase"] == "training" else 0

    def wait_until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            assert time.monotonic() < end, f"nothing happened in {seconds} s"
            time.sleep(0.01)

    def kill(self, victim: str, moments: random.Random) -> None:
        """Kill `cli`, one `rank`, a whole `group`, or `everything`, and type the command again where that is needed."""
        assert self.process is not None
        found = self.running()
        if victim in ("cli", "everything"):
            self.process.kill()
        if victim == "rank":
            ranks = [each for each in found if "branchmerge_trainer.rank" in each.cmdline()]
            moments.choice(ranks or found).kill()
        if victim in ("group", "everything"):
            for process in found:
                process.kill()
        psutil.wait_procs(found, timeout=0 if victim == "cli" else 5)
        if victim != "cli":
            self._note_checkpoints()
        if victim in ("cli", "everything"):
            self.process.communicate()
            self.begin()

    def running(self) -> list[psutil.Process]:
        return self.line.processes()

    def resumptions(self, branch: str) -> list[int]:
        """Step from which each attempt of its training went on; 0 at first. One that did not come so far has none."""
        logs = [self.root / "attempts" / each["child"] / "node-0.log" for each in self.attempts(f"train/{branch}")]
        return [int(step) for log in logs for step in _STARTED_FROM.findall(log.read_text())]

    def outputs(self) -> dict[str, tuple[str, Any]]:
        """Stage -> content digest and scores of its output. There is one for each stage."""
        results = [json.loads(file.read_text()) for file in self.root.glob("stages/**/result.json")]
        assert len(results) == len({each["stage"] for each in results})
        return {each["stage"]: (each["digest"], each.get("scores")) for each in results if each["stage"] != "report"}

    def _note_checkpoints(self) -> None:
        for branch in BRANCHES:
            steps = [
                int(marker.parent.name.removeprefix("step-"))
                for marker in self.root.glob(f"stages/train/{branch}/*.work/checkpoints/step-*/complete.json")
                if not marker.parent.name.endswith(".partial")
            ]
            self.checkpoints.setdefault(branch, []).append(max(steps, default=0))


def pico_run(folder: Path) -> PicoRun:
    return PicoRun(CommandLine(folder, run_folder=folder / "runs" / NAME))


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> PicoRun:
    """The job, run from its beginning to its end. Tests must not change it."""
    run = pico_run(tmp_path_factory.mktemp("unkilled"))
    make_pico(run.line.folder)
    run.begin()
    run.finish()
    return run


@pytest.fixture
def killed(unkilled: PicoRun, tmp_path: Path) -> Iterator[PicoRun]:
    """The same inputs in another folder, for a run that is killed."""
    for name in ("student", "data", "eval", "job.yaml"):
        source = unkilled.line.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    run = pico_run(tmp_path)
    yield run
    if run.process is not None:
        run.process.kill()
        run.process.communicate()
    for process in run.running():
        process.kill()


def test_a_job_ends_with_scores_and_a_report(unkilled: PicoRun) -> None:
    again = unkilled.line.type("run", "job.yaml")
    assert again.returncode == 0
    assert re.search(r"^merged +0\.\d{3} \[", again.stdout, re.MULTILINE)
    report = json.loads(unkilled.line.type("report", "job.yaml", "--format", "json").stdout)
    assert list(report) == ["job", "verdict", "scores", "differences", "data", "stages"]
    assert {each["branch"]: each["learned"] > 0 for each in report["data"]} == dict.fromkeys(BRANCHES, True)
    assert {(each["model"], each["suite"]) for each in report["scores"]} == {
        (model, suite) for model in ("student", "merged") for suite in BRANCHES
    }
    assert all(each["attempts"] == 1 for each in report["stages"])
    page = unkilled.line.type("report", "job.yaml", "--format", "html").stdout
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert unkilled.line.type("report", "job.yaml").stdout.startswith("---\n"), "a model card with its metadata"


def test_progress_is_told_while_a_branch_trains(unkilled: PicoRun) -> None:
    for branch in BRANCHES:
        (attempt,) = unkilled.attempts(f"train/{branch}")
        assert attempt["progress"]["step"] == MAX_STEPS
        assert attempt["firstStepAt"]


@pytest.mark.parametrize("seed", [1])
def test_a_job_that_is_killed_at_random_points_ends_as_if_it_was_not(
    unkilled: PicoRun, killed: PicoRun, seed: int
) -> None:
    moments = random.Random(seed)
    victims = ["cli", "rank", "group", "everything"]
    moments.shuffle(victims)
    killed.begin()
    for branch, own in zip(BRANCHES, (victims[:2], victims[2:]), strict=True):
        points = sorted(moments.sample(range(EVERY_STEPS, LAST_KILL), len(own)))
        for victim, point in zip(own, points, strict=True):
            killed.wait_until(lambda branch=branch, point=point: killed.steps(branch) >= point)  # type: ignore[misc]
            killed.kill(victim, moments)
    killed.wait_until(lambda: killed.steps(BRANCHES[-1]) == MAX_STEPS)
    time.sleep(moments.uniform(0.0, 10.0))
    killed.kill("everything", moments)
    killed.finish()
    assert killed.running() == []
    assert killed.outputs() == unkilled.outputs()
    for branch, own in zip(BRANCHES, (victims[:2], victims[2:]), strict=True):
        resumed = killed.resumptions(branch)
        assert len(resumed) == 1 + len(own) - own.count("cli"), "without a command line it goes on"
        assert set(resumed[1:]) <= set(killed.checkpoints[branch]), "each goes on from the newest checkpoint there was"
        assert resumed == sorted(resumed)
        history = next(killed.root.glob(f"stages/train/{branch}/*/history.jsonl")).read_text().splitlines()
        assert [json.loads(line)["step"] for line in history] == list(range(1, MAX_STEPS + 1))

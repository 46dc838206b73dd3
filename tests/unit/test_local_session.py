"""The loop of a run: what it starts first, and what it writes."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from branchmerge.api.resource import DistillationJob
from branchmerge.api.status import Status
from branchmerge.core.model import AttemptState, JobState
from branchmerge.local.capacity import Capacity
from branchmerge.local.executor import LocalExecutor
from branchmerge.local.files import read_record
from branchmerge.local.layout import RunFolder
from branchmerge.local.machine import Machine
from branchmerge.local.session import Session, Snapshot
from builders import make_job

TRAINER = (sys.executable, str(Path(__file__).parents[1] / "quick_trainer.py"))


class Recorder:
    """A session whose snapshots are kept."""

    def __init__(self, folder: Path, job: DistillationJob, cores: int) -> None:
        folder.mkdir()
        capacity = Capacity(Machine(cores, 1 << 40), cores, None)
        self.executor = LocalExecutor(
            RunFolder(folder), folder, capacity, pins={}, started_at=datetime.now(UTC), command=TRAINER
        )
        self.session = Session(job, self.executor, self.listen)
        self.snapshots: list[Snapshot] = []

    def listen(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def run(self) -> Snapshot:
        return asyncio.run(self.session.run())

    def order(self) -> list[str]:
        """Stages in the order in which they started."""
        attempts = self.snapshots[-1].observation.attempts
        return [attempt.stage for attempt in sorted(attempts, key=lambda attempt: attempt.started_at)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICK", json.dumps({"*": {"steps": 1}, "curate/coding": {"steps": 10, "seconds": 0.1}}))


def without_gates(**edits: object) -> DistillationJob:
    return make_job({"evaluation.gates": [], **edits})


def test_a_session_ends_with_the_job(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run", without_gates(), cores=4)
    last = recorder.run()
    assert last.plan.state is JobState.SUCCEEDED
    assert read_record(tmp_path / "run" / "status.json", Status) == last.status
    assert all(attempt.state is AttemptState.SUCCEEDED for attempt in last.observation.attempts)


def test_a_stage_that_needs_much_is_not_overtaken_by_those_that_need_little(tmp_path: Path) -> None:
    job = without_gates(resources={"processesPerNode": 2})
    recorder = Recorder(tmp_path / "run", job, cores=2)
    recorder.run()
    order = recorder.order()
    assert order.index("train/math") < order.index("evaluate/student")


def test_an_interrupted_session_is_suspended_and_the_job_is_not(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run", without_gates(), cores=2)
    recorder.session.interrupt()
    last = recorder.run()
    assert last.plan.state is JobState.SUSPENDED
    assert last.observation.attempts == ()
    assert recorder.session.job.spec.suspend is False

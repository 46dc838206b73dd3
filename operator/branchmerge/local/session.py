"""The loop of a local run: observe, plan, act, tell. The same decisions as on a cluster, at the pace of a person."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from branchmerge.api.resource import DistillationJob
from branchmerge.api.status import StageState, Status
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Action, Discard, JobState, Observation, Plan, Start, Stop
from branchmerge.core.plan import plan
from branchmerge.core.status import job_status
from branchmerge.local.executor import LocalExecutor
from branchmerge.local.files import read_record, write_atomic

_PASS_SECONDS = 0.4
_AGAIN_SECONDS = 0.05
"""After an action the world is about to change."""
_STATUS_SECONDS = 1.0
"""Longest age of figures in `status.json`; a change of state is written at once."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The job at one moment."""

    job: DistillationJob
    observation: Observation
    plan: Plan
    status: Status


Listener = Callable[[Snapshot], None]


@dataclass(slots=True)
class Session:
    """Drives one job to its end, or to its interruption."""

    job: DistillationJob
    executor: LocalExecutor
    listener: Listener
    """Called after each pass."""
    _interrupted: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _status: Status | None = None
    _written: Status | None = None
    _written_at: float = float("-inf")

    async def run(self) -> Snapshot:
        """Work until the job has succeeded, failed, or stopped after `interrupt`. Returns how it stands then.

        No process of an attempt is left when it returns or raises. Raises OSError where the disk refuses.
        """
        self._status = self._written = read_record(self.executor.folder.status, Status)
        try:
            while True:
                snapshot, acted = await self._pass()
                self.listener(snapshot)
                if snapshot.plan.state is not JobState.RUNNING:
                    return snapshot
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _AGAIN_SECONDS if acted else _PASS_SECONDS)
        finally:
            self.executor.kill()

    def interrupt(self) -> None:
        """Stop every attempt after a checkpoint, start none, and have `run` return."""
        self._interrupted = True
        self._wake.set()

    def kill(self) -> None:
        """End every attempt at once, and have `run` return."""
        self.interrupt()
        self.executor.kill()

    async def _pass(self) -> tuple[Snapshot, bool]:
        job = _suspended(self.job) if self._interrupted else self.job
        observation = await self.executor.observe(job)
        decided = plan(job, build_graph(job, observation.pins, observation.results), observation)
        acted = await self._perform(decided.actions)
        status = job_status(job, decided, observation, self._status)
        self._write(status, final=decided.state is not JobState.RUNNING)
        self._status = status
        return Snapshot(job, observation, decided, status), acted

    async def _perform(self, actions: Sequence[Action]) -> bool:
        """Whether the world is another one now.

        Where a stage finds no room none after it starts either, lest one that needs much waits for ever.
        """
        acted = full = False
        for action in actions:
            match action:
                case Start() if not full:
                    full = not await self.executor.start(action)
                    acted |= not full
                case Stop():
                    await self.executor.stop(action)
                    acted = True
                case Discard():
                    await self.executor.discard(action)
                    acted = True
        return acted

    def _write(self, status: Status, *, final: bool) -> None:
        due = (
            final or _states(status) != _states(self._written) or time.monotonic() - self._written_at > _STATUS_SECONDS
        )
        if due and status != self._written:
            write_atomic(self.executor.folder.status, status.model_dump_json(indent=2, exclude_none=True))
            self._written, self._written_at = status, time.monotonic()


def _states(status: Status | None) -> list[StageState]:
    return [stage.state for stage in status.stages] if status else []


def _suspended(job: DistillationJob) -> DistillationJob:
    return job.model_copy(update={"spec": job.spec.model_copy(update={"suspend": True})})

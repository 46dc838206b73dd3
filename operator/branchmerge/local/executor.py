"""Runs attempts as processes of this machine: one a node, each with a session and process group of its own.

Nothing is remembered that is not on disk or in the process table, so that a command line that was killed at any
instruction is followed by one that adopts the attempts that still run and learns how the others ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import Outcome
from branchmerge.core.model import Attempt, Discard, FailureClass, Observation, Start, Stop
from branchmerge.core.naming import child_name
from branchmerge.core.threads import thread_environment
from branchmerge.local import environment, processes
from branchmerge.local.attempts import RECORD_FILE, AttemptRecord, AttemptStore, End, StopRequest
from branchmerge.local.capacity import Capacity
from branchmerge.local.ending import NodeEnd, conclude
from branchmerge.local.environment import NodeFiles, Shape
from branchmerge.local.files import read_record
from branchmerge.local.keys import Keys
from branchmerge.local.layout import RunFolder
from branchmerge.local.machine import out_of_memory_kills
from branchmerge.local.results import ResultCatalog

TRAINER_COMMAND = (sys.executable, "-m", "branchmerge_trainer")
_GANG_GRACE_SECONDS = 10
"""Time for the other nodes to end when one has failed: their ranks cannot go on without it."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _BrokenGang:
    """A node of an attempt has ended badly, while others run."""

    first: int
    kill_at: datetime


@dataclass(slots=True)
class LocalExecutor:
    """The attempts of one job. Only the holder of the run folder's lock may use it."""

    folder: RunFolder
    inputs: Path
    """Where relative paths of the user start from."""
    capacity: Capacity
    pins: dict[str, str]
    started_at: datetime
    """When a person asked for this run: the deadline counts from here, and what failed before is forgiven."""
    command: Sequence[str] = TRAINER_COMMAND
    """What a node executes."""
    keys: Keys = field(default_factory=Keys)
    """API keys that curations need, and nothing else gets."""
    clock: Callable[[], datetime] = utc_now
    _records: dict[str, AttemptRecord] = field(init=False)
    _store: AttemptStore = field(init=False)
    _results: ResultCatalog = field(init=False)
    _handles: dict[tuple[str, int], subprocess.Popen[bytes]] = field(init=False, default_factory=dict)
    """Nodes, by child and number, that this process started: of these the system tells the exit code."""
    _broken: dict[str, _BrokenGang] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._store = AttemptStore(self.folder.attempts)
        self._results = ResultCatalog(self.folder.stages)
        self._records = {record.child: record for record in self._store.load()}

    async def observe(self, job: DistillationJob) -> Observation:
        """See `Executor`. Attempts that ended are concluded, and those whose grace period is over are killed."""
        now = self.clock()
        attempts = tuple(self._observe_attempt(record, now) for record in list(self._records.values()))
        return Observation(
            now=now,
            attempts=attempts,
            results=self._results.scan(),  # after the attempts: what one of them left is then among them
            pins=self.pins,
            started_at=self.started_at,
            forgiven_before=self.started_at,
        )

    async def start(self, action: Start) -> bool:
        """See `Executor`."""
        config = action.config
        child = child_name(config.job, config.stage, config.fingerprint, config.attempt)
        if child in self._records:
            return True
        demand = self.capacity.admit(action.stage, [record.demand for record in self._active()])
        if demand is None:
            return False
        shape = Shape.of(action.stage)
        record = AttemptRecord(
            child=child,
            stage=config.stage,
            fingerprint=config.fingerprint,
            number=config.attempt,
            output=config.output,
            nodes=shape.nodes,
            demand=demand,
            out_of_memory_kills=out_of_memory_kills(),
            started_at=self.clock(),
        )
        self._records[child] = self._store.create(record)
        common = (
            self.keys.without(environment.inherited(os.environ))
            | self.keys.of_task(config.task)
            | environment.contract(config, self.folder.root, self.inputs)
            | environment.placement(shape, environment.free_port())
        )
        self._spawn(record, common, shape)
        return True

    async def stop(self, action: Stop) -> None:
        """See `Executor`."""
        record = self._records[action.attempt.child_name]
        if record.end is None and record.stop is None:
            request = StopRequest(requested_at=self.clock(), grace_seconds=action.grace_seconds, reason=action.reason)
            self._signal(record, signal.SIGTERM)  # first: on a full disk the record may fail, the stop must not
            self._save(record.model_copy(update={"stop": request}))

    async def discard(self, action: Discard) -> None:
        """See `Executor`."""
        record = self._records.pop(action.attempt.child_name, None)
        if record is not None:
            self._store.remove(record)

    def kill(self) -> None:
        """End every attempt at once, without writing anything; the next observation concludes them."""
        for record in self._active():
            processes.sweep(self._store.folder(record.child))
        for handle in self._handles.values():
            handle.poll()

    def _active(self) -> list[AttemptRecord]:
        return [record for record in self._records.values() if record.end is None]

    def _save(self, record: AttemptRecord) -> AttemptRecord:
        self._records[record.child] = record
        return self._store.save(record)

    def _spawn(self, record: AttemptRecord, common: dict[str, str], shape: Shape) -> None:
        folder = self._store.folder(record.child)
        gpus_per_node = len(record.demand.gpus) // shape.nodes
        threads = thread_environment(record.demand.cores, shape.ranks)
        started = []
        for node in range(shape.nodes):
            gpus = record.demand.gpus[node * gpus_per_node : (node + 1) * gpus_per_node]
            environ = common | environment.of_node(folder, node) | threads | environment.accelerators(gpus)
            try:
                handle = processes.start(self.command, environ, NodeFiles.of(folder, node).log)
            except OSError as error:
                processes.sweep(folder)
                message = f"cannot start {self.command[0]}: {error.strerror}"
                end = End(at=self.clock(), failure=FailureClass.FAILURE, reason="CannotStart", message=message)
                self._save(record.model_copy(update={"end": end}))
                return
            self._handles[record.child, node] = handle
            process = processes.refer(handle.pid)
            assert process is not None, "our own child stays in the process table until we ask for its exit code"
            started.append(process)
        self._save(record.model_copy(update={"processes": started}))

    def _observe_attempt(self, record: AttemptRecord, now: datetime) -> Attempt:
        if record.end is not None:
            return record.to_attempt(record.progress)
        if not record.processes:
            record = self._adopt(record)
        progress = self._store.progress(record)
        if record.first_step_at is None and progress is not None and progress.step:
            record = self._save(record.model_copy(update={"first_step_at": progress.updated_at or now}))
        record = self._advance(record, now)
        return record.to_attempt(record.progress if record.end else progress)

    def _adopt(self, record: AttemptRecord) -> AttemptRecord:
        """Find the processes of an attempt whose starter was killed before it could write them down."""
        found = processes.leaders(self._store.folder(record.child))
        if len(found) < record.nodes:
            return record
        return self._save(record.model_copy(update={"processes": [found[node] for node in sorted(found)]}))

    def _advance(self, record: AttemptRecord, now: datetime) -> AttemptRecord:
        """Conclude the attempt if all its nodes have ended; end what must end."""
        ends = [self._node_end(record, node) for node in range(record.nodes)]
        done = [end for end in ends if end is not None]
        if len(done) == len(ends):
            return self._conclude(record, done, now)
        if any(not end.well for end in done) and record.child not in self._broken:
            first = next(node for node, end in enumerate(ends) if end is not None and not end.well)
            self._broken[record.child] = _BrokenGang(first, now + timedelta(seconds=_GANG_GRACE_SECONDS))
            self._signal(record, signal.SIGTERM)
        broken = self._broken.get(record.child)
        if (record.stop is not None and now >= record.stop.kill_at) or (broken is not None and now >= broken.kill_at):
            processes.sweep(self._store.folder(record.child))
        return record

    def _node_end(self, record: AttemptRecord, node: int) -> NodeEnd | None:
        """How the node's process ended, None while it runs."""
        handle = self._handles.get((record.child, node))
        exit_code = None
        if handle is not None:
            exit_code = handle.poll()
            if exit_code is None:
                return None
        elif record.processes and processes.alive(record.processes[node]):
            return None
        return NodeEnd(exit_code, read_record(NodeFiles.of(self._store.folder(record.child), node).outcome, Outcome))

    def _conclude(self, record: AttemptRecord, ends: Sequence[NodeEnd], now: datetime) -> AttemptRecord:
        folder = self._store.folder(record.child)
        processes.sweep(folder)  # a rank that outlived its launcher would write beside the next attempt
        watched = [self._handles.pop((record.child, node), None) for node in range(record.nodes)]
        broken = self._broken.pop(record.child, None)
        end = conclude(
            ends,
            now if all(watched) else min(now, _last_sign_of_life(record, folder)),
            first=broken.first if broken else 0,
            has_output=self._results.read(self.folder.root / record.output) is not None,
            stopped=record.stop.reason if record.stop else None,
            out_of_memory=out_of_memory_kills() > record.out_of_memory_kills,
        )
        return self._save(record.model_copy(update={"end": end, "progress": self._store.progress(record)}))

    def _signal(self, record: AttemptRecord, number: signal.Signals) -> None:
        for process in record.processes:
            processes.signal_group(process, number)


def _last_sign_of_life(record: AttemptRecord, folder: Path) -> datetime:
    """When an attempt that nobody watched last wrote a file."""
    written = [file.stat().st_mtime for file in folder.iterdir() if file.name != RECORD_FILE]
    return max([record.started_at, *(datetime.fromtimestamp(moment, UTC) for moment in written)])

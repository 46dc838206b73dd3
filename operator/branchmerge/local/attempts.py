"""What is known of an attempt: a record that is on disk before its first process starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field

from branchmerge.api.base import RecordModel
from branchmerge.api.stage import Progress
from branchmerge.core.model import Attempt, AttemptState, FailureClass
from branchmerge.local.capacity import Demand
from branchmerge.local.environment import NodeFiles
from branchmerge.local.files import read_record, write_atomic
from branchmerge.local.processes import ProcessRef

CHILD_KIND = "Process"
RECORD_FILE = "attempt.json"


class StopRequest(RecordModel):
    """That an attempt was told to stop, and until when it may save."""

    requested_at: datetime
    grace_seconds: int
    reason: str

    @property
    def kill_at(self) -> datetime:
        """When patience ends."""
        return self.requested_at + timedelta(seconds=self.grace_seconds)


class End(RecordModel):
    """How an attempt ended."""

    at: datetime
    failure: FailureClass | None = Field(None, description="None where it left its output.")
    reason: str = Field(description="CamelCase word.")
    message: str = Field("", description="One line for people.")
    exit_codes: list[int | None] = Field(
        default_factory=list, description="Of each node; negative: a signal; None: nobody was there to learn it."
    )


class AttemptRecord(RecordModel):
    """One attempt, as it is kept in `attempt.json`."""

    child: str
    stage: str
    fingerprint: str
    number: int
    output: str = Field(description="Output folder, relative to the workspace.")
    nodes: int
    demand: Demand
    out_of_memory_kills: int = Field(description="Count of the kernel when it started.")
    started_at: datetime
    processes: list[ProcessRef] = Field(
        default_factory=list, description="One a node; empty from the decision to start until all have started."
    )
    first_step_at: datetime | None = None
    stop: StopRequest | None = None
    end: End | None = None
    progress: Progress | None = Field(None, description="The last report, once it has ended.")

    def to_attempt(self, progress: Progress | None) -> Attempt:
        """The attempt as the core sees it, with the report that is the last one at this moment."""
        end = self.end
        return Attempt(
            stage=self.stage,
            fingerprint=self.fingerprint,
            number=self.number,
            state=self._state(),
            started_at=self.started_at,
            ended_at=end.at if end else None,
            first_step_at=self.first_step_at,
            failure=end.failure if end else None,
            reason=end.reason if end else "",
            message=end.message if end else "",
            gpus=len(self.demand.gpus),
            child_kind=CHILD_KIND,
            child_name=self.child,
            progress=progress,
        )

    def _state(self) -> AttemptState:
        if self.end is None:
            return AttemptState.STOPPING if self.stop else AttemptState.RUNNING
        return AttemptState.SUCCEEDED if self.end.failure is None else AttemptState.FAILED


@dataclass(frozen=True, slots=True)
class AttemptStore:
    """The attempts of a run, one folder each."""

    root: Path

    def folder(self, child: str) -> Path:
        """The folder of an attempt: record, logs, outcome, progress."""
        return self.root / child

    def load(self) -> Iterator[AttemptRecord]:
        """All attempts, oldest first. A folder without a record is the rest of one that was being made or removed."""
        records = [
            record
            for file in self.root.glob(f"*/{RECORD_FILE}")
            if (record := read_record(file, AttemptRecord)) is not None
        ]
        yield from sorted(records, key=lambda record: (record.started_at, record.number))

    def create(self, record: AttemptRecord) -> AttemptRecord:
        """Write a new attempt's record, into a folder without anything that one of the same name left. Returns it."""
        folder = self.folder(record.child)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return self.save(record)

    def save(self, record: AttemptRecord) -> AttemptRecord:
        """Write the record. Returns it."""
        folder = self.folder(record.child)
        write_atomic(folder / RECORD_FILE, record.model_dump_json(indent=2, exclude_none=True))
        return record

    def progress(self, record: AttemptRecord) -> Progress | None:
        """What the first node last said of its progress."""
        return read_record(NodeFiles.of(self.folder(record.child), 0).progress, Progress)

    def remove(self, record: AttemptRecord) -> None:
        """Forget an attempt, its logs included. The record goes first, so that a crash leaves nothing that misleads."""
        folder = self.folder(record.child)
        (folder / RECORD_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

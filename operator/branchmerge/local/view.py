"""A look at a job's run folder by somebody who does not work in it: nothing is started, ended or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from branchmerge.api.base import RecordModel
from branchmerge.api.resource import DistillationJob
from branchmerge.api.status import Status
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Attempt, AttemptState, FailureClass, Graph, Observation, Plan
from branchmerge.core.plan import plan
from branchmerge.core.status import job_status
from branchmerge.local import processes
from branchmerge.local.attempts import AttemptRecord, AttemptStore, End
from branchmerge.local.files import read_record
from branchmerge.local.layout import RunFolder
from branchmerge.local.results import ResultCatalog


class RunRecord(RecordModel):
    """When a person last asked for the job to run."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class View:
    """The job as it stands in its folder."""

    graph: Graph
    observation: Observation
    plan: Plan
    status: Status


def look(job: DistillationJob, folder: RunFolder, pins: Mapping[str, str], asked_at: datetime | None) -> View:
    """How the job stands for somebody who asked for it to run at `asked_at`."""
    observation = Observation(
        now=datetime.now(UTC),
        attempts=attempts_of(folder),
        results=ResultCatalog(folder.stages).scan(),
        pins=pins,
        started_at=asked_at,
        forgiven_before=asked_at,
    )
    graph = build_graph(job, pins, observation.results)
    decided = plan(job, graph, observation)
    status = job_status(job, decided, observation, read_record(folder.status, Status))
    return View(graph, observation, decided, status)


def last_asked(folder: RunFolder) -> datetime | None:
    """When a person last asked for the job to run; None where nobody did."""
    record = read_record(folder.run, RunRecord)
    return record.started_at if record else None


def attempts_of(folder: RunFolder) -> tuple[Attempt, ...]:
    """All attempts, oldest first. One whose processes are gone counts as disrupted until a run concludes it."""
    store = AttemptStore(folder.attempts)
    return tuple(_attempt(record, store) for record in store.load())


def _attempt(record: AttemptRecord, store: AttemptStore) -> Attempt:
    progress = record.progress if record.end else store.progress(record)
    attempt = record.to_attempt(progress)
    if attempt.state in (AttemptState.RUNNING, AttemptState.STOPPING) and not _is_alive(record, store):
        last_seen = progress.updated_at if progress and progress.updated_at else record.started_at
        end = End(at=last_seen, failure=FailureClass.DISRUPTION, reason="Vanished", message="its process is gone")
        return record.model_copy(update={"end": end}).to_attempt(progress)
    return attempt


def _is_alive(record: AttemptRecord, store: AttemptStore) -> bool:
    if record.processes:
        return any(processes.alive(process) for process in record.processes)
    return bool(processes.leaders(store.folder(record.child)))

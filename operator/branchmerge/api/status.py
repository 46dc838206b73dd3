"""The status of a job: a summary for people, written in one piece, never read back by a decision about work."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from branchmerge.api.base import RecordModel, list_map

Text = Annotated[str, Field(max_length=1024)]
FigureText = Annotated[str, Field(max_length=64)]


class Phase(StrEnum):
    """One word for people; a summary of the conditions, never read by code."""

    PENDING = "Pending"
    CURATING = "Curating"
    TRAINING = "Training"
    MERGING = "Merging"
    EVALUATING = "Evaluating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class ConditionType(StrEnum):
    """What can be true of a job."""

    ACCEPTED = "Accepted"
    DATA_READY = "DataReady"
    BRANCHES_TRAINED = "BranchesTrained"
    MERGED = "Merged"
    EVALUATED = "Evaluated"
    GATES_PASSED = "GatesPassed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"


REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


class Condition(RecordModel):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=64)] = Field(description="What is or is not so, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=REASON)] = Field(
        description="Why, as one CamelCase word for programs."
    )
    message: Annotated[str, Field(max_length=4096)] = Field("", description="Why, in a sentence for people.")
    last_transition_time: datetime = Field(description="When `status` last changed.")
    observed_generation: int | None = Field(None, description="The generation of the spec that this is said of.")


class StageState(StrEnum):
    """Where a stage stands."""

    PENDING = "Pending"
    """Its inputs are not there yet, or its executor has no room."""
    BACKING_OFF = "BackingOff"
    RUNNING = "Running"
    STOPPING = "Stopping"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    """Something that it needs failed for good, or the job ended before its turn."""


class ChildRef(RecordModel):
    """The object that executes a stage's newest attempt."""

    kind: Annotated[str, Field(max_length=64)] = Field(description="Kind of the object, such as `PyTorchJob`.")
    name: Annotated[str, Field(max_length=253)] = Field(description="Name of the object.")


class StageProgress(RecordModel):
    """How far the newest attempt is."""

    step: int | None = Field(None, description="Steps done (optimizer steps, questions, tensors, rows).")
    steps: int | None = Field(None, description="Steps in all.")
    loss: FigureText | None = Field(None, description="Mean loss a trained token, in nats.")
    tokens_per_second: FigureText | None = Field(None, description="Tokens a second over all ranks.")
    eta: datetime | None = Field(None, description="When the stage is expected to end.")


class StageStatus(RecordModel):
    """One stage of the job."""

    name: Annotated[str, Field(max_length=128)] = Field(description="`train/math`, `merge/final`, …")
    state: StageState = Field(description="Where the stage stands.")
    fingerprint: FigureText | None = Field(None, description="Hash of everything that determines the output.")
    reason: Text | None = Field(None, description="Why the stage stands there.")
    attempts: int = Field(0, description="Attempts so far.")
    failures: int = Field(0, description="Attempts that failed; they spend spec.retry.failures.")
    disruptions: int = Field(0, description="Attempts that were disrupted; they spend spec.retry.disruptions.")
    child: ChildRef | None = Field(None, description="What executes the newest attempt.")
    start_time: datetime | None = Field(None, description="Start of the first attempt.")
    completion_time: datetime | None = Field(None, description="End of the last attempt.")
    gpu_hours: FigureText | None = Field(None, description="Allocated accelerators x hours over all attempts.")
    progress: StageProgress | None = Field(None, description="How far the newest attempt is.")
    digest: Annotated[str, Field(max_length=128)] | None = Field(None, description="Content digest of the output.")


class ScoreStatus(RecordModel):
    """One score."""

    model: Annotated[str, Field(max_length=128)] = Field(description="`student`, `specialist/<branch>` or `merged`.")
    suite: Annotated[str, Field(max_length=64)] = Field(description="Name of the suite.")
    metric: Annotated[str, Field(max_length=64)] = Field(description="What is measured, such as `pass@1`.")
    value: FigureText = Field(description="Score from 0 to 1.")
    ci95: Annotated[list[FigureText], Field(min_length=2, max_length=2)] = Field(description="95% interval.")


class Pin(RecordModel):
    """An input whose name is mutable (a branch of a repository, a file), and what it was resolved to."""

    name: Annotated[str, Field(max_length=1280)] = Field(description="Which input, such as `branches/math/sources/0`.")
    digest: Annotated[str, Field(max_length=128)] = Field(description="Commit or content digest.")


class Status(RecordModel):
    """Where the job stands."""

    observed_generation: int | None = Field(None, description="The generation of the spec that this status is of.")
    phase: Phase | None = Field(None, description="A summary of the conditions for people.")
    progress: FigureText | None = Field(None, description="Share of the work that is done, in percent.")
    branches: FigureText | None = Field(None, description="Branches trained, of all.")
    score: FigureText | None = Field(None, description="Mean score of the merged model over the Test suites.")
    gpu_hours: FigureText | None = Field(None, description="Allocated accelerators x hours over all attempts.")
    start_time: datetime | None = Field(None, description="When the job was accepted.")
    completion_time: datetime | None = Field(None, description="When the job ended.")
    conditions: Annotated[list[Condition], Field(max_length=32)] = Field(
        default_factory=list, json_schema_extra=list_map("type"), description="What is so of the job."
    )
    pins: Annotated[list[Pin], Field(max_length=512)] = Field(
        default_factory=list, json_schema_extra=list_map("name"), description="Inputs as they were resolved."
    )
    stages: Annotated[list[StageStatus], Field(max_length=512)] = Field(
        default_factory=list, json_schema_extra=list_map("name"), description="Every stage of the job."
    )
    scores: Annotated[list[ScoreStatus], Field(max_length=1024)] = Field(
        default_factory=list,
        json_schema_extra=list_map("model", "suite", "metric"),
        description="Every model's score on every suite.",
    )

"""The contract between who starts an attempt and the trainer that carries it out.

In: a `StageConfig` as JSON in `BRANCHMERGE_STAGE`. Out: the stage's output folder with `result.json` written last, an
`Outcome` of at most 4,096 bytes as termination message, and an `ExitCode`. While it runs: `Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from branchmerge.api.base import RecordModel
from branchmerge.api.data import DataSpec, Replay
from branchmerge.api.evaluation import Bound, Engine, Gate, Suite
from branchmerge.api.merge import MergeStep, MergeType
from branchmerge.api.teacher import Teacher
from branchmerge.api.training import Training

SCHEMA_VERSION = 1
OUTCOME_BYTES = 4096
"""The kubelet keeps this much of a termination message."""

STAGE_ENV = "BRANCHMERGE_STAGE"
WORKSPACE_ENV = "BRANCHMERGE_WORKSPACE"
"""Root of the workspace: every output path of a config is relative to it."""
INPUTS_ENV = "BRANCHMERGE_INPUTS"
"""Folder that relative paths *of the user* start from. Default: the workspace; in a local run, the file's folder."""
TERMINATION_LOG_ENV = "BRANCHMERGE_TERMINATION_LOG"
TERMINATION_LOG_DEFAULT = "/dev/termination-log"
PROGRESS_FILE_ENV = "BRANCHMERGE_PROGRESS_FILE"
"""File that a local run reads progress from; on a cluster progress goes to KUBEFLOW_TRAINER_SERVER_URL."""

TEACHER_KEY_ENV = "BRANCHMERGE_TEACHER_API_KEY"
JUDGE_KEY_ENV = "BRANCHMERGE_JUDGE_API_KEY"
"""API keys of a curation's endpoints: in its process's environment and nowhere else."""

JOB_ENV = "BRANCHMERGE_JOB"
"""Job whose outputs `python -m branchmerge_trainer.cleanup` removes from the workspace."""

RESULT_FILE = "result.json"


class ExitCode(IntEnum):
    """What the container's process says by its exit."""

    DONE = 0
    FAILURE = 1
    INPUT = 64
    """The user's input is wrong: permanent, never retried."""
    TRANSIENT = 75
    """Something outside failed for now: retried."""
    INTERRUPTED = 143
    """Stopped by SIGTERM after a checkpoint; 130 (SIGINT) means the same."""


class StageKind(StrEnum):
    """The kinds of work, in the order of the pipeline."""

    INPUTS = "inputs"
    CURATE = "curate"
    TRAIN = "train"
    MERGE = "merge"
    EVALUATE = "evaluate"
    REPORT = "report"


class ModelRef(RecordModel):
    """A model to load: a stage's output, or one that the user named."""

    name: str = Field(description="`student`, `specialist/<branch>`, `merged` or `merge/<step>`.")
    output: str | None = Field(None, description="Output folder of a stage, relative to the workspace.")
    model: str | None = Field(None, description="Hub id, path or URI, as the user wrote it.")
    revision: str | None = Field(None, description="Commit of a Hub model.")


class InputToResolve(RecordModel):
    """Something that the job reads from outside, by a name whose content may change."""

    kind: Literal["model", "dataset", "file"] = Field(
        description="`model`: Hub id, folder or URI. `dataset`: Hub id. `file`: path or URI."
    )
    location: str = Field(description="As the user wrote it.")
    revision: str | None = Field(None, description="Branch, tag or commit of the Hub.")
    field: str = Field(description="What messages call it.")


class InputsTask(RecordModel):
    """Inputs -> what they are now: a commit of the Hub or a content digest each, in `StageResult.pins`."""

    kind: Literal[StageKind.INPUTS] = StageKind.INPUTS
    inputs: list[InputToResolve]


class CurateTask(RecordModel):
    """Sources -> `rows.parquet` with a column `messages`."""

    kind: Literal[StageKind.CURATE] = StageKind.CURATE
    branch: str
    data: DataSpec
    teacher: Teacher | None = Field(None, description="Who answers the branch's prompts, where it has any.")
    suites: list[Suite] = Field(
        default_factory=list, description="What rows are decontaminated against, where they are."
    )
    student: ModelRef | None = Field(None, description="Whose tokenizer counts tokens, where they are limited.")
    answers: str | None = Field(
        None,
        description="Folder, relative to the workspace, where the teacher's answers are kept. It outlives the stage's "
        "fingerprint, so that another choice among them asks nothing again.",
    )
    verdicts: str | None = Field(None, description="The same for the verdicts of a judge.")


class ReplaySource(RecordModel):
    """Curated rows of another branch."""

    branch: str
    rows: str = Field(description="Output folder of that branch's curation, relative to the workspace.")


class TrainTask(RecordModel):
    """Curated rows -> a specialist in Hugging Face format."""

    kind: Literal[StageKind.TRAIN] = StageKind.TRAIN
    branch: str
    student: ModelRef
    rows: str = Field(description="Output folder of the branch's curation, relative to the workspace.")
    training: Training
    replay: Replay | None = None
    replay_sources: list[ReplaySource] = Field(default_factory=list)


class MergeTask(RecordModel):
    """Models -> one model, by one step of a recipe."""

    kind: Literal[StageKind.MERGE] = StageKind.MERGE
    step: MergeStep
    models: dict[str, ModelRef] = Field(description="Every name that the step uses -> model.")
    student: ModelRef = Field(description="Whose tokenizer and chat template the output must carry.")
    dtype: MergeType
    out_dtype: MergeType
    shard_bytes: int
    seed: int


class EvaluateTask(RecordModel):
    """One model on every suite -> scores and `answers/<suite>.jsonl`."""

    kind: Literal[StageKind.EVALUATE] = StageKind.EVALUATE
    model: ModelRef
    suites: list[Suite]
    engine: Engine
    seed: int


class StageAccount(RecordModel):
    """What a stage has cost, for the report. No part of a fingerprint."""

    stage: str
    fingerprint: str
    attempts: int
    failures: int = 0
    disruptions: int = 0
    seconds: float = Field(description="Wall time over all attempts, in seconds.")
    gpus: int = Field(0, description="Accelerators allocated to one attempt.")
    gpu_hours: float = Field(0.0, description="Allocated accelerators x hours over all attempts.")
    useful_gpu_hours: float = Field(0.0, description="Part of gpuHours whose work is in the output.")
    lost_gpu_hours: float = Field(0.0, description="Part of gpuHours spent on attempts that were lost or repeated.")
    starting_gpu_hours: float = Field(0.0, description="Part of gpuHours spent before the first step.")


class ReportTask(RecordModel):
    """Everything -> `README.md` (model card), `report.html` and `report.json`."""

    kind: Literal[StageKind.REPORT] = StageKind.REPORT
    student: ModelRef
    merged: ModelRef
    curate: dict[str, str] = Field(description="Branch -> output folder.")
    train: dict[str, str] = Field(description="Branch -> output folder.")
    merge: dict[str, str] = Field(description="Recipe step -> output folder, in the order of the recipe.")
    evaluate: dict[str, str] = Field(description="Model name -> output folder.")
    suites: list[Suite] = Field(default_factory=list)
    gates: list[Gate] = Field(default_factory=list)
    spec: dict[str, Any] = Field(description="The spec as the user wrote it, for the lineage.")
    accounts: list[StageAccount] = Field(default_factory=list)


Task = Annotated[
    InputsTask | CurateTask | TrainTask | MergeTask | EvaluateTask | ReportTask, Field(discriminator="kind")
]


class StageConfig(RecordModel):
    """One attempt's orders."""

    schema_version: int = SCHEMA_VERSION
    job: str
    stage: str = Field(description="`train/math`, `merge/final`, …")
    fingerprint: str = Field(description="Hash of everything that determines the output.")
    attempt: int = Field(ge=1)
    output: str = Field(description="Output folder, relative to the workspace; it exists only when it is complete.")
    ingredients: dict[str, Any] = Field(description="What the fingerprint is the hash of; kept as lineage.")
    task: Task

    @property
    def work(self) -> str:
        """Folder for unfinished work (checkpoints, resumable rows), relative to the workspace; kept across attempts."""
        return f"{self.output}.work"


class Score(RecordModel):
    """One model's result on one suite."""

    suite: str
    metric: str = Field(description="Such as `pass@1`.")
    value: float = Field(description="0-1.")
    ci95: tuple[float, float] = Field(description="95% interval.")
    n: int = Field(description="Questions.")
    samples: int = Field(1, description="Answers drawn a question.")


class Difference(RecordModel):
    """A model's paired difference to a baseline on one suite."""

    model: str
    baseline: str
    suite: str
    value: float = Field(description="Difference of scores.")
    ci95: tuple[float, float] = Field(description="95% interval of the paired difference.")


_Figure = TypeVar("_Figure", Score, Difference)


class GateResult(RecordModel):
    """Whether a gate was passed, and by which figure."""

    suite: str
    passed: bool
    bound: Bound
    message: str = Field(description="The figure that was compared, and with what.")


class StageResult(RecordModel):
    """What a finished stage says of itself. It fits a termination message; details lie in the output folder."""

    schema_version: int = SCHEMA_VERSION
    stage: str
    fingerprint: str
    digest: str = Field(description="Content digest of the output.")
    started_at: datetime
    finished_at: datetime
    figures: dict[str, float] = Field(
        default_factory=dict, description="Few numbers by name, such as rows, steps, loss, tokens."
    )
    dropped: dict[str, int] = Field(default_factory=dict, description="Reason -> rows that were dropped.")
    scores: list[Score] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    gates: list[GateResult] = Field(default_factory=list)
    verdict: str | None = Field(None, description="One sentence for people, of a report.")
    pins: list[str | None] = Field(
        default_factory=list,
        description="Of `inputs`, in the order of its task: commit, or sha256 of the content; none of a URI.",
    )
    versions: dict[str, str] = Field(default_factory=dict, description="Library -> version that made the output.")


class Outcome(RecordModel):
    """The termination message of an attempt."""

    schema_version: int = SCHEMA_VERSION
    exit_code: int
    reason: str = Field(description="CamelCase word, such as `Completed`, `InvalidInput`, `OutOfMemory`.")
    message: str = Field("", description="One line for people: what is wrong, and the fix.")
    result: StageResult | None = None

    def to_bytes(self, limit: int = OUTCOME_BYTES) -> bytes:
        """JSON of at most `limit` bytes: what is needed least goes first, gates and scores last."""
        for outcome in self._ever_shorter():
            encoded = outcome.to_json().encode()
            if len(encoded) <= limit:
                return encoded
        raise AssertionError(f"an outcome without details has more than {limit} bytes")

    def _ever_shorter(self) -> Iterator[Outcome]:
        outcome = self
        yield outcome
        for shorter in _LEAST_NEEDED_FIRST:
            if outcome.result is not None:
                result = outcome.result.model_copy(update=shorter(outcome.result))
                outcome = outcome.model_copy(update={"result": result})
                yield outcome
        for characters in (1000, 250, 0):
            yield outcome.model_copy(update={"message": self.message[:characters]})


def _rounded(score: _Figure) -> _Figure:
    low, high = score.ci95
    return score.model_copy(update={"value": round(score.value, 4), "ci95": (round(low, 4), round(high, 4))})


_LEAST_NEEDED_FIRST: tuple[Callable[[StageResult], dict[str, Any]], ...] = (
    lambda result: {"versions": {}},
    lambda result: {"scores": [*map(_rounded, result.scores)], "differences": [*map(_rounded, result.differences)]},
    lambda result: {"differences": []},
    lambda result: {"figures": {}},
    lambda result: {"dropped": {}},
    lambda result: {"gates": [gate.model_copy(update={"message": ""}) for gate in result.gates]},
    lambda result: {"verdict": None},
    lambda result: {"scores": []},
)
"""What an outcome that is too long goes without; the output folder's `result.json` has it all."""


class Progress(RecordModel):
    """How far an attempt is, as the trainer reports it."""

    phase: str = Field("Running", description="What the attempt is doing, in a word or two, such as `loading model`.")
    step: int | None = Field(None, description="Steps done (optimizer steps, questions, tensors, rows).")
    steps: int | None = Field(None, description="Steps in all.")
    loss: float | None = Field(None, description="Mean loss a trained token, in nats.")
    tokens_per_second: float | None = Field(None, description="Tokens a second over all ranks.")
    eta_seconds: float | None = Field(None, description="Seconds to the end, by the speed of this attempt.")
    updated_at: datetime | None = None

"""The `DistillationJob`: what a user writes, and where its status is kept."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from branchmerge.api.base import Location, Name, NonNegativeInt, PositiveInt, ShortText, SpecModel, cel, list_map
from branchmerge.api.compute import Resources
from branchmerge.api.data import DataSpec, Replay
from branchmerge.api.evaluation import Evaluation
from branchmerge.api.merge import STUDENT, Merge, check_recipe
from branchmerge.api.status import Status
from branchmerge.api.teacher import Teacher
from branchmerge.api.training import Training

GROUP = "branchmerge.dev"
VERSION = "v1alpha1"
KIND = "DistillationJob"
PLURAL = "distillationjobs"
API_VERSION = f"{GROUP}/{VERSION}"

MERGED = "merged"
RESERVED_NAMES = frozenset({STUDENT, MERGED})


class Student(SpecModel):
    """The model that is trained."""

    model: Location = Field(description="Hub id, workspace path or fsspec URI.")
    revision: ShortText = Field(
        "main", description="Branch, tag or commit of a Hub model; resolved once to a commit. Default `main`."
    )


class Branch(SpecModel):
    """One domain: its data and its specialist."""

    name: Name = Field(description="Name of the domain, unique in the job.")
    data: DataSpec = Field(description="What the branch learns from.")
    training: Training | None = Field(
        None, description="Leaves that differ from spec.training; maps merge deeply, lists are replaced."
    )
    replay: Replay | None = Field(None, description="Rows of other branches mixed into each batch. Default: none.")
    resources: Resources | None = Field(None, description="Leaves that differ from spec.resources.")


class Retry(SpecModel):
    """How often a stage is attempted again. A permanent error (wrong input) never is."""

    failures: NonNegativeInt = Field(
        2, description="Failed attempts (non-zero exit, out of memory) a stage may have and go on. Default 2."
    )
    disruptions: NonNegativeInt = Field(
        100, description="Disrupted attempts (eviction, preemption, lost node) a stage may have and go on. Default 100."
    )
    backoff_seconds: NonNegativeInt = Field(
        30, description="Wait after the first failure, in seconds; it doubles with each further one. Default 30."
    )
    max_backoff_seconds: NonNegativeInt = Field(600, description="Longest wait, in seconds. Default 600.")


class FailurePolicy(StrEnum):
    """What a stage that failed for good does to the others."""

    FAIL_FAST = "FailFast"
    CONTINUE = "Continue"


class DeletionPolicy(StrEnum):
    """What happens to the artifacts when the job is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class PersistentVolumeClaimRef(SpecModel):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: ShortText = Field(description="Name of the claim.")


class WorkspaceRef(SpecModel):
    """Where stages leave their outputs."""

    persistent_volume_claim: PersistentVolumeClaimRef | None = Field(
        None, description="Volume that every stage mounts; needed on a cluster, unused in a local run."
    )
    path: Location | None = Field(
        None,
        description="Folder within the volume. Default: the job's name. In a local run without a volume, a folder "
        "relative to the current one; default runs/<name>.",
    )


class Spec(SpecModel):
    """What the job is to do."""

    student: Student = Field(description="The model that is trained. Immutable once the job is accepted.")
    teacher: Teacher | None = Field(None, description="The model that answers prompts, for branches that need one.")
    training: Training = Field(default_factory=Training, description="Defaults of every branch.")
    resources: Resources = Field(default_factory=Resources, description="Pool and size of each branch's training.")
    branches: Annotated[list[Branch], Field(min_length=1, max_length=32)] = Field(
        description="The domains.",
        json_schema_extra=list_map("name"),
    )
    merge: Merge = Field(description="How specialists become one model.")
    evaluation: Evaluation | None = Field(None, description="What is measured. Default: nothing.")
    retry: Retry = Field(default_factory=Retry, description="How often a stage is attempted again.")
    failure_policy: FailurePolicy = Field(
        FailurePolicy.FAIL_FAST,
        description="`FailFast` (one failed stage stops the others) or `Continue` (independent stages go on). "
        "Default `FailFast`.",
    )
    deadline_seconds: PositiveInt | None = Field(
        None, description="Longest duration of the job, in seconds from its start. Default: no limit."
    )
    workspace: WorkspaceRef = Field(default_factory=WorkspaceRef, description="Where stages leave their outputs.")
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN, description="Artifacts when the job is deleted: `Retain` or `Delete`. Default `Retain`."
    )
    suspend: bool = Field(False, description="Stop every attempt after a checkpoint and start none. Default false.")

    @model_validator(mode="after")
    def _branches_fit_together(self) -> Self:
        names = [branch.name for branch in self.branches]
        _refuse_duplicates(names, "branches", "branch")
        for index, branch in enumerate(self.branches):
            where = f"branches[{index}]"
            if branch.name in RESERVED_NAMES:
                raise ValueError(f"{where}.name: {branch.name!r} is reserved for that model: choose another name")
            if branch.replay is not None:
                _check_replay(branch, names, where)
            for number, source in enumerate(branch.data.sources):
                if source.prompts is not None and self.teacher is None:
                    raise ValueError(f"{where}.data.sources[{number}].prompts: nobody answers them: add spec.teacher")
            _check_batch(self.training_of(branch), self.resources_of(branch), where)
        return self

    @model_validator(mode="after")
    def _recipes_name_known_models(self) -> Self:
        names = [branch.name for branch in self.branches]
        if self.merge.recipe is not None:
            check_recipe(self.merge.recipe, names, "merge.recipe")
        candidates = self.merge.candidates or []
        _refuse_duplicates([candidate.name for candidate in candidates], "merge.candidates", "candidate")
        for index, candidate in enumerate(candidates):
            check_recipe(candidate.recipe, names, f"merge.candidates[{index}].recipe")
        return self

    @model_validator(mode="after")
    def _suites_are_unique(self) -> Self:
        if self.evaluation is not None:
            _refuse_duplicates([suite.name for suite in self.evaluation.suites], "evaluation.suites", "suite")
        return self

    def training_of(self, branch: Branch) -> Training:
        """The branch's settings, spec.training filled in."""
        return self.training.overridden_by(branch.training)

    def resources_of(self, branch: Branch) -> Resources:
        """The branch's pool and size, spec.resources filled in."""
        return self.resources.overridden_by(branch.resources)


class Metadata(SpecModel):
    """The part of Kubernetes' object metadata that matters here; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    namespace: str | None = None
    generation: int | None = None
    uid: str | None = None


_STUDENT_IS_KEPT_CEL = (
    "self.spec.student == oldSelf.spec.student || !has(oldSelf.status) || !has(oldSelf.status.conditions) "
    "|| !oldSelf.status.conditions.exists(c, c.type == 'Accepted' && c.status == 'True')"
)


class DistillationJob(SpecModel):
    """Branch-Merge distillation: one student, several domains, one merged model."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("self.metadata.name.size() <= 40", "metadata.name: at most 40 characters, so that child names fit"),
            (
                _STUDENT_IS_KEPT_CEL,
                "spec.student is immutable once the job is accepted: create a new job",
            ),
        )
    )

    api_version: Literal["branchmerge.dev/v1alpha1"]
    kind: Literal["DistillationJob"]
    metadata: Metadata
    spec: Spec
    status: Status | None = None


def _refuse_duplicates(names: list[str], where: str, what: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{where}: {count} entries are named {name!r}: give each {what} a name of its own")


def _check_replay(branch: Branch, names: list[str], where: str) -> None:
    assert branch.replay is not None
    for source in branch.replay.from_:
        if source == branch.name:
            raise ValueError(f"{where}.replay.from: {source!r} is the branch itself: name other branches")
        if source not in names:
            others = ", ".join(name for name in names if name != branch.name)
            raise ValueError(f"{where}.replay.from: no branch {source!r}: use one of {others}")
    _refuse_duplicates(branch.replay.from_, f"{where}.replay.from", "entry")


def _check_batch(training: Training, resources: Resources, where: str) -> None:
    ranks = resources.nodes * resources.ranks_per_node
    step = ranks * training.micro_batch_size
    if training.global_batch_size % step:
        below = training.global_batch_size // step * step
        raise ValueError(
            f"{where}: globalBatchSize {training.global_batch_size} is no multiple of {ranks} ranks x microBatchSize "
            f"{training.micro_batch_size} = {step}: use {below + step if not below else f'{below} or {below + step}'}"
        )

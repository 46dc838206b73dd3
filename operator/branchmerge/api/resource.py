"""The `DistillationJob`: what a user writes, and where its status is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator

from branchmerge.api import consistency
from branchmerge.api.base import (
    JOB_NAME,
    PATTERN_HINTS,
    Choice,
    Location,
    Name,
    NonNegativeInt,
    PositiveInt,
    Rule,
    ShortText,
    SpecModel,
    cel,
    list_map,
    refuse_duplicates,
)
from branchmerge.api.compute import Resources
from branchmerge.api.data import DataSpec, Replay
from branchmerge.api.evaluation import Evaluation
from branchmerge.api.merge import STUDENT, Merge
from branchmerge.api.objects import PersistentVolumeClaimRef
from branchmerge.api.podtemplate import PodTemplate
from branchmerge.api.status import Status
from branchmerge.api.teacher import Teacher
from branchmerge.api.training import Training

GROUP = "branchmerge.dev"
VERSION = "v1alpha1"
KIND = "DistillationJob"
PLURAL = "distillationjobs"
API_VERSION = f"{GROUP}/{VERSION}"

JOB_NAME_LENGTH = 40
"""Characters that a job's name may have, so that the names of its children fit."""

MERGED = "merged"
RESERVED_NAMES = frozenset({STUDENT, MERGED})


class Student(SpecModel):
    """The model that is trained."""

    model: Location = Field(description="Hub id, workspace path or fsspec URI.")
    revision: ShortText = Field(
        "main", description="Branch, tag or commit of a Hub model; resolved once to a commit. Default `main`."
    )


_FREE_NAME = Rule("!(self in ['student', 'merged'])", "is the name of another model of the job: choose another name")
_NOT_ITSELF = Rule(
    "!has(self.replay) || !(self.name in self.replay.from)",
    "a branch's own rows are no replay: name other branches",
    ".replay.from",
)


class Branch(SpecModel):
    """One domain: its data and its specialist."""

    model_config = ConfigDict(json_schema_extra=cel(_NOT_ITSELF))

    name: Name = Field(description="Name of the domain, unique in the job.", json_schema_extra=cel(_FREE_NAME))
    data: DataSpec = Field(description="What the branch learns from.")
    teacher: Teacher | None = Field(
        None,
        description="Who answers the branch's prompts, in place of spec.teacher as a whole. Default: spec.teacher.",
    )
    training: Training | None = Field(
        None, description="Leaves that differ from spec.training; maps merge deeply, lists are replaced. Default: none."
    )
    replay: Replay | None = Field(None, description="Rows of other branches mixed into each batch. Default: none.")
    resources: Resources | None = Field(None, description="Leaves that differ from spec.resources. Default: none.")

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"{name!r} {_FREE_NAME.message}")
        return name

    @model_validator(mode="after")
    def _replays_others(self) -> Self:
        if self.replay is not None and self.name in self.replay.from_:
            raise ValueError(f"replay.from: {self.name!r}: {_NOT_ITSELF.message}")
        return self


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


class FailurePolicy(Choice):
    """What a stage that failed for good does to the others."""

    FAIL_FAST = "FailFast"
    CONTINUE = "Continue"


class DeletionPolicy(Choice):
    """What happens to the job's artifacts when the job is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


_VOLUME_PATH = Rule(
    "!has(self.persistentVolumeClaim) || !has(self.path)"
    " || !(self.path.startsWith('/') || self.path.split('/').exists(part, part == '..'))",
    "a folder within the volume: write it without a leading / and without ..",
    ".path",
)


class WorkspaceRef(SpecModel):
    """Where stages leave their outputs."""

    model_config = ConfigDict(json_schema_extra=cel(_VOLUME_PATH))

    persistent_volume_claim: PersistentVolumeClaimRef | None = Field(
        None, description="Volume that every stage mounts; needed on a cluster, unused in a local run."
    )
    path: Location | None = Field(
        None,
        description="Folder within the volume; in a local run without a volume, a folder relative to the current one. "
        "Default: the job's name; in a local run `runs/<name>`.",
    )

    @model_validator(mode="after")
    def _stays_within_the_volume(self) -> Self:
        path = self.path or ""
        if self.persistent_volume_claim is not None and (path.startswith("/") or ".." in path.split("/")):
            raise ValueError(f"path: {path!r}: {_VOLUME_PATH.message}")
        return self


class Spec(SpecModel):
    """What the job is to do."""

    model_config = ConfigDict(json_schema_extra=cel(*consistency.RULES))

    student: Student = Field(description="The model that is trained. Immutable once the job is accepted.")
    teacher: Teacher | None = Field(None, description="The model that answers prompts, in branches that have any.")
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
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate,
        description="What the pods of every stage have besides the operator's own; unused in a local run.",
    )
    ttl_seconds_after_finished: NonNegativeInt | None = Field(
        None,
        description="The job is deleted so long after it has ended, in seconds; its artifacts go or stay by "
        "deletionPolicy. Unused in a local run. Default: it is kept.",
    )
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="What the job has written into the workspace, when the job is deleted: `Retain` or `Delete`. "
        "Default `Retain`.",
    )
    suspend: bool = Field(False, description="Stop every attempt after a checkpoint and start none. Default false.")

    @field_validator("branches")
    @classmethod
    def _names_of_their_own(cls, branches: list[Branch]) -> list[Branch]:
        refuse_duplicates((branch.name for branch in branches), "give each branch a name of its own")
        return branches

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        consistency.check(self)
        return self

    def training_of(self, branch: Branch) -> Training:
        """The branch's settings, spec.training filled in."""
        return self.training.overridden_by(branch.training)

    def teacher_of(self, branch: Branch) -> Teacher | None:
        """Who answers the branch's prompts; None where it has none."""
        return (branch.teacher or self.teacher) if branch.data.asks else None

    def resources_of(self, branch: Branch) -> Resources:
        """The branch's pool and size, spec.resources filled in."""
        return self.resources.overridden_by(branch.resources)


class Metadata(SpecModel):
    """The part of Kubernetes' object metadata that matters here; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, StringConstraints(min_length=1, max_length=JOB_NAME_LENGTH, pattern=JOB_NAME)]
    namespace: str | None = None
    generation: int | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None


_PLAIN_NAME = Rule(f"self.metadata.name.matches('{JOB_NAME}')", f"use {PATTERN_HINTS[JOB_NAME]}", ".metadata.name")
_STUDENT_STAYS = Rule(
    "!has(oldSelf.status) || !has(oldSelf.status.conditions)"
    " || !oldSelf.status.conditions.exists(c, c.type == 'Accepted' && c.status == 'True')"
    " || (self.spec.student.model == oldSelf.spec.student.model"
    " && (has(self.spec.student.revision) ? self.spec.student.revision : 'main')"
    " == (has(oldSelf.spec.student.revision) ? oldSelf.spec.student.revision : 'main'))",
    "immutable once the job is accepted: create a new job",
    ".spec.student",
)


class DistillationJob(SpecModel):
    """Branch-Merge distillation: one student, several domains, one merged model."""

    model_config = ConfigDict(json_schema_extra=cel(_PLAIN_NAME, _STUDENT_STAYS))

    api_version: Literal["branchmerge.dev/v1alpha1"]
    kind: Literal["DistillationJob"]
    metadata: Metadata
    spec: Spec = Field(description="What the job is to do.")
    status: Status | None = Field(None, description="Where the job stands; written by the operator.")

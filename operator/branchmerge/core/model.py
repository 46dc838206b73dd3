"""The nouns of a decision: stages, attempts, what was observed, and the actions that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from branchmerge.api.compute import Resources
from branchmerge.api.stage import Progress, StageConfig, StageKind, StageResult, Task
from branchmerge.api.status import StageState

StageKey = tuple[str, str]
"""(stage name, fingerprint): one piece of work with one output."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One unit of work with one output.

    `fingerprint`, `ingredients`, `output` and `task` are None while they depend on the content digest of a stage that
    has no result yet (a branch's training depends on the rows that its curation makes).
    """

    name: str
    kind: StageKind
    needs: tuple[str, ...]
    resources: Resources
    fingerprint: str | None = None
    ingredients: Mapping[str, Any] | None = None
    output: str | None = None
    task: Task | None = None

    @property
    def key(self) -> StageKey | None:
        """What the stage's attempts and result are known by, once that is certain."""
        return None if self.fingerprint is None else (self.name, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Graph:
    """All stages of a job; every stage comes after those that it needs."""

    stages: tuple[Stage, ...]
    pins: Mapping[str, str] = field(default_factory=dict)
    """Input -> commit or content digest that it is known by; empty while a stage resolves them."""

    def __getitem__(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def keys(self) -> frozenset[StageKey]:
        """The keys of all stages whose fingerprint is certain."""
        return frozenset(stage.key for stage in self.stages if stage.key is not None)


class AttemptState(StrEnum):
    """Where an attempt stands. A finished attempt has an end; the others hold resources."""

    RUNNING = "Running"
    STOPPING = "Stopping"
    """It was told to stop and has not ended yet."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class FailureClass(StrEnum):
    """Why an attempt ended without a result, which decides what it spends."""

    FAILURE = "Failure"
    """Non-zero exit, out of memory: spends `retry.failures`."""
    DISRUPTION = "Disruption"
    """Eviction, preemption, lost node, killed from outside: spends `retry.disruptions`."""
    PERMANENT = "Permanent"
    """The user's input is wrong: not attempted again."""
    STOPPED = "Stopped"
    """Stopped by us (suspend, edit, deadline): spends nothing."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a stage, as an executor sees it."""

    stage: str
    fingerprint: str
    number: int
    state: AttemptState
    started_at: datetime
    ended_at: datetime | None = None
    allocated_at: datetime | None = None
    """When its accelerators became its own, where they were not at its start: it may have waited in a queue."""
    first_step_at: datetime | None = None
    failure: FailureClass | None = None
    reason: str = ""
    """Why it ended as it did, or why it has not begun to work; a CamelCase word."""
    message: str = ""
    """The same in a sentence for people."""
    gpus: int = 0
    child_kind: str = ""
    child_name: str = ""
    progress: Progress | None = None

    @property
    def key(self) -> StageKey:
        """The stage and fingerprint that it works on."""
        return (self.stage, self.fingerprint)

    @property
    def active(self) -> bool:
        """Whether it still holds resources."""
        return self.state in (AttemptState.RUNNING, AttemptState.STOPPING)

    @property
    def waits(self) -> bool:
        """Whether it was started and cannot work yet, for want of room or of something that it needs."""
        return self.state is AttemptState.RUNNING and bool(self.reason)


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of the world at one moment. Every decision follows from the spec and this."""

    now: datetime
    attempts: tuple[Attempt, ...] = ()
    results: Mapping[StageKey, StageResult] = field(default_factory=dict)
    pins: Mapping[str, str] | None = field(default_factory=dict)
    """Input (see `inputs.inputs_of`) -> commit or content digest that it was resolved to. None: a stage does that."""
    started_at: datetime | None = None
    """When the job started; the deadline counts from here."""
    forgiven_before: datetime | None = None
    """Attempts that ended before this moment no longer spend budgets: a person asked to try again."""
    obstacles: Mapping[str, str] = field(default_factory=dict)
    """Stage -> why its next attempt could not be started when that was tried last."""


@dataclass(frozen=True, slots=True)
class Start:
    """Begin an attempt. Idempotent by (stage, fingerprint, attempt number)."""

    stage: Stage
    config: StageConfig


@dataclass(frozen=True, slots=True)
class Stop:
    """End a running attempt gracefully: SIGTERM, then SIGKILL after the grace period."""

    attempt: Attempt
    reason: str
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Forget a finished attempt whose fingerprint left the graph. Outputs are kept."""

    attempt: Attempt


Action = Start | Stop | Discard


@dataclass(frozen=True, slots=True)
class StageDecision:
    """Where a stage stands and why, in words for people."""

    stage: Stage
    state: StageState
    reason: str
    attempts: tuple[Attempt, ...] = ()
    """Attempts on its current fingerprint, oldest first; those that are active while it is not certain."""
    result: StageResult | None = None
    retry_at: datetime | None = None
    ready: bool = False
    """Whether nothing keeps the stage from starting now."""


class JobState(StrEnum):
    """How the job as a whole stands."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, where every stage stands, and when to look again without an event."""

    state: JobState
    reason: str
    """CamelCase word, such as `GatesFailed`."""
    message: str
    """One line for people."""
    decisions: tuple[StageDecision, ...]
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None

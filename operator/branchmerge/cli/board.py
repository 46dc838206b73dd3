"""Where the stages of a job stand, as rows of text: what the live table, the plain lines and `status` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from branchmerge.api.status import StageState, StageStatus, Status
from branchmerge.cli.words import duration, short
from branchmerge.core.model import Attempt, FailureClass
from branchmerge.core.retry import last_words

_WORDS = {
    StageState.PENDING: "waiting",
    StageState.BACKING_OFF: "waits to retry",
    StageState.RUNNING: "running",
    StageState.STOPPING: "stopping",
    StageState.SUSPENDED: "stopped",
    StageState.SUCCEEDED: "done",
    StageState.FAILED: "failed",
    StageState.SKIPPED: "skipped",
}
_AT_WORK = frozenset({StageState.RUNNING, StageState.STOPPING})
_WORTH_A_REASON = frozenset({StageState.BACKING_OFF, StageState.FAILED})


@dataclass(frozen=True, slots=True)
class Row:
    """One stage."""

    name: str
    state: StageState
    word: str
    """Its state for people; of a running one what it is doing."""
    reason: str
    """Why it does not go on; of a stage that does, how its last attempt was lost if any was."""
    step: int | None
    steps: int | None
    loss: str
    rate: str
    """Tokens a second."""
    eta_seconds: float | None
    seconds: float | None
    """Time over all attempts; None where there was none."""

    @property
    def share(self) -> float:
        """Part of the stage that is done, 0-1."""
        if self.state is StageState.SUCCEEDED:
            return 1.0
        return min(1.0, (self.step or 0) / self.steps) if self.steps else 0.0

    @property
    def starting(self) -> bool:
        """Whether it runs, but has not come to a first step."""
        return self.state is StageState.RUNNING and not self.step

    @property
    def count(self) -> str:
        """`310/940`, `310`, or nothing."""
        if self.step is None:
            return ""
        return f"{self.step}/{self.steps}" if self.steps else str(self.step)

    @property
    def time(self) -> str:
        """Time that is left of a running stage where that is known, else the time that it took."""
        if self.state is StageState.RUNNING and self.eta_seconds is not None:
            return f"{duration(self.eta_seconds)} left"
        if self.seconds is None:
            return "cached" if self.state is StageState.SUCCEEDED else ""
        return duration(self.seconds)

    @property
    def line(self) -> str:
        """Everything in one line."""
        loss, rate = (f"loss {self.loss}" if self.loss else ""), (f"{self.rate} tokens/s" if self.rate else "")
        parts = [self.count and f"step {self.count}", loss, rate, self.time]
        details = ", ".join(part for part in parts if part)
        return f"{self.name} {self.word}" + (f" ({details})" if details else "")


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of a stage's attempts."""

    begun: bool
    seconds: float | None
    phase: str
    """What the newest one is doing, in a word or two; nothing where it has not said so yet."""
    lost: str
    """How attempts were lost, if any were."""


def rows_of(status: Status, attempts: Sequence[Attempt], now: datetime) -> list[Row]:
    """A row for each stage of the job, in the order of the pipeline."""
    return [
        _row(stage, _past([each for each in attempts if _works_on(each, stage)], now), now) for stage in status.stages
    ]


def rows_of_status(status: Status, now: datetime) -> list[Row]:
    """The same rows by the status alone, for somebody who may read the job and nothing else."""
    return [_row(stage, _told_past(stage, now), now) for stage in status.stages]


def _works_on(attempt: Attempt, stage: StageStatus) -> bool:
    return attempt.stage == stage.name and (attempt.active or attempt.fingerprint == stage.fingerprint)


def _past(attempts: Sequence[Attempt], now: datetime) -> _Past:
    newest = attempts[-1] if attempts else None
    return _Past(
        begun=newest is not None,
        seconds=sum(((each.ended_at or now) - each.started_at).total_seconds() for each in attempts)
        if attempts
        else None,
        phase=newest.progress.phase.lower() if newest and newest.progress else "",
        lost=_lost(attempts),
    )


def _lost(attempts: Sequence[Attempt]) -> str:
    """How the newest attempt was lost that was not stopped by us."""
    lost = [each for each in attempts if each.failure not in (None, FailureClass.STOPPED)]
    return f"attempt {lost[-1].number} was lost: {last_words(lost[-1])}" if lost else ""


def _told_past(stage: StageStatus, now: datetime) -> _Past:
    """A status knows when the first attempt began, not how long each one took: waits between them count here."""
    begun = stage.attempts > 0
    counts = {"failed": stage.failures, "disrupted": stage.disruptions}
    lost = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    ended = now if stage.state in _AT_WORK else stage.completion_time
    return _Past(
        begun=begun,
        seconds=(ended - stage.start_time).total_seconds() if begun and ended and stage.start_time else None,
        phase="running" if stage.progress else "",
        lost=f"attempts so far: {lost}" if lost else "",
    )


def _row(stage: StageStatus, past: _Past, now: datetime) -> Row:
    progress = stage.progress
    state = _state(stage, past)
    return Row(
        name=stage.name,
        state=state,
        word=(past.phase or "starting") if state is StageState.RUNNING else _WORDS[state],
        reason=_reason(stage, past),
        step=progress.step if progress else None,
        steps=progress.steps if progress else None,
        loss=(progress.loss or "") if progress else "",
        rate=short(float(progress.tokens_per_second)) if progress and progress.tokens_per_second else "",
        eta_seconds=(progress.eta - now).total_seconds() if progress and progress.eta else None,
        seconds=past.seconds,
    )


def _reason(stage: StageStatus, past: _Past) -> str:
    if stage.state in _WORTH_A_REASON:
        return stage.reason or ""
    return "" if stage.state is StageState.SUCCEEDED else past.lost


def _state(stage: StageStatus, past: _Past) -> StageState:
    """The stage's state; one that was stopped before it ever began still waits."""
    return StageState.PENDING if stage.state is StageState.SUSPENDED and not past.begun else stage.state

"""What attempts have cost: accelerators are paid for as long as they are allocated, whatever they do.

Every attempt's time is split in three:

- *starting*: from the moment that they are allocated until its first step (all of it where there was none);
- *useful*: from the first step to the last progress that was seen (to the end, or to now, of an attempt that ended well
  or runs), if the output of its stage is part of the job;
- *lost*: the rest, namely what came after the last progress of an attempt that ended otherwise (it hung, or its work
  was not saved and a later attempt repeated it), and everything that went into no output of this job.

The steps between the last checkpoint and the last progress are repeated too; an executor cannot see them, so that
`useful` may be too high by less than one checkpoint interval an attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from branchmerge.api.stage import StageAccount
from branchmerge.core.model import Attempt, AttemptState, FailureClass, Graph, Observation, StageKey

_SECONDS_AN_HOUR = 3600.0


def gpu_hours(attempts: Iterable[Attempt], now: datetime) -> float:
    """Allocated accelerators x hours over these attempts."""
    return sum(attempt.gpus * _allocated_seconds(attempt, now) for attempt in attempts) / _SECONDS_AN_HOUR


def stage_accounts(graph: Graph, observation: Observation) -> list[StageAccount]:
    """An account for each stage and fingerprint that has attempts: those of the graph in its order, then the others."""
    by_key: dict[StageKey, list[Attempt]] = {}
    for attempt in sorted(observation.attempts, key=lambda each: (each.stage, each.fingerprint, each.number)):
        by_key.setdefault(attempt.key, []).append(attempt)
    current = [stage.key for stage in graph.stages if stage.key in by_key]
    others = by_key.keys() - set(current)
    in_use = graph.keys() & observation.results.keys()
    return [
        _account(by_key[key], observation.now, in_use=key in in_use)
        for key in (*current, *sorted(others))
        if key is not None
    ]


def _account(attempts: Sequence[Attempt], now: datetime, *, in_use: bool) -> StageAccount:
    total = gpu_hours(attempts, now)
    starting = sum(each.gpus * _starting_seconds(each, now) for each in attempts) / _SECONDS_AN_HOUR
    useful = sum(each.gpus * _useful_seconds(each, now) for each in attempts) / _SECONDS_AN_HOUR if in_use else 0.0
    return StageAccount(
        stage=attempts[-1].stage,
        fingerprint=attempts[-1].fingerprint,
        attempts=len(attempts),
        failures=count_of(attempts, FailureClass.FAILURE),
        disruptions=count_of(attempts, FailureClass.DISRUPTION),
        seconds=sum(_seconds(each, now) for each in attempts),
        gpus=attempts[-1].gpus,
        gpu_hours=total,
        useful_gpu_hours=useful,
        lost_gpu_hours=max(0.0, total - starting - useful),
        starting_gpu_hours=starting,
    )


def count_of(attempts: Iterable[Attempt], failure: FailureClass) -> int:
    """Attempts that ended so."""
    return sum(attempt.failure is failure for attempt in attempts)


def _end(attempt: Attempt, now: datetime) -> datetime:
    return now if attempt.active else attempt.ended_at or attempt.started_at


def _seconds(attempt: Attempt, now: datetime) -> float:
    return _between(attempt.started_at, _end(attempt, now))


def _allocated_seconds(attempt: Attempt, now: datetime) -> float:
    return _between(_allocated_at(attempt), _end(attempt, now))


def _allocated_at(attempt: Attempt) -> datetime:
    return attempt.allocated_at or attempt.started_at


def _starting_seconds(attempt: Attempt, now: datetime) -> float:
    end = _end(attempt, now)
    return _between(_allocated_at(attempt), min(attempt.first_step_at or end, end))


def _useful_seconds(attempt: Attempt, now: datetime) -> float:
    if attempt.first_step_at is None:
        return 0.0
    end = _end(attempt, now)
    if attempt.state is AttemptState.FAILED:
        reported = attempt.progress.updated_at if attempt.progress else None
        end = min(reported or attempt.first_step_at, end)
    return _between(attempt.first_step_at, end)


def _between(start: datetime, end: datetime) -> float:
    """Seconds from start to end; none where the clocks of two machines put the end first."""
    return max(0.0, (end - start).total_seconds())

"""The learning rate as a function of the step, so that a resumed run needs no state of a scheduler."""

from __future__ import annotations

import math

from branchmerge.api.training import Schedule, ScheduleType


def learning_rate(schedule: Schedule, peak: float, step: int, steps: int) -> float:
    """The rate of the update that follows `step` finished ones, of `steps` in all.

    Equal to transformers' schedules of the same names, with `math.ceil(warmup_ratio * steps)` warm-up steps.
    """
    if schedule.type is ScheduleType.CONSTANT:
        return peak
    warmup = math.ceil(schedule.warmup_ratio * steps)
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * _decayed(schedule, done)


def _decayed(schedule: Schedule, done: float) -> float:
    """Share of the peak after `done` (0-1) of the steps that follow warm-up."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * done))
    match schedule.type:
        case ScheduleType.LINEAR:
            return 1.0 - done
        case ScheduleType.COSINE:
            return cosine
        case ScheduleType.COSINE_WITH_MIN_LR:
            return cosine * (1.0 - schedule.min_rate_ratio) + schedule.min_rate_ratio
        case _:
            return 1.0

"""How long to wait for what should happen by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from branchmerge.api.stage import StageResult
from branchmerge.core.model import Attempt

RESULT_VISIBLE = timedelta(seconds=60)
"""An attempt that ended well has its result in the workspace; network file systems cache what they read so long."""

EXIT = timedelta(seconds=60)
"""An attempt whose result is there only has to exit; one that hangs in its teardown is stopped then."""

PROGRESS = timedelta(minutes=30)
"""An attempt that reported nothing for so long makes no progress: longer than loading a large model takes."""


def result_due(attempt: Attempt) -> datetime:
    """When the result of an attempt that ended well must be visible; without one it counts as a failure then."""
    return ended_at(attempt) + RESULT_VISIBLE


def exit_due(attempt: Attempt, result: StageResult) -> datetime:
    """When an attempt must have ended whose stage has a result."""
    return max(result.finished_at, attempt.started_at) + EXIT


def progress_due(attempt: Attempt) -> datetime:
    """When a running attempt must have reported progress again."""
    reported = attempt.progress.updated_at if attempt.progress else None
    return max(time for time in (attempt.started_at, attempt.first_step_at, reported) if time is not None) + PROGRESS


def ended_at(attempt: Attempt) -> datetime:
    """When a finished attempt ended; its start where nobody saw the end."""
    return attempt.ended_at or attempt.started_at

"""Two budgets and a backoff: what attempts that ended without a result mean for the next one.

A failure spends `retry.failures`, a disruption `retry.disruptions`; a permanent error ends the stage at once, a stop of
ours spends nothing, and neither does what a person has forgiven. An attempt that ended well but left no result counts
as a failure (someone removed the output, or the stage writes to another workspace than the one that is read: without a
bound it would run for ever).

The wait after a failure is `backoffSeconds`, doubled with each further one, up to `maxBackoffSeconds`. After a
disruption it is 5 seconds at most: the cause lies outside, but a node that dies at once must not be hit in a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from branchmerge.api.resource import Retry
from branchmerge.core.model import Attempt, AttemptState, FailureClass
from branchmerge.core.patience import ended_at, result_due

DISRUPTION_BACKOFF_SECONDS = 5
_MAX_DOUBLINGS = 31


@dataclass(frozen=True, slots=True)
class Standing:
    """What a stage's attempts leave it. Neither: it may start at once."""

    given_up: str | None = None
    """Why it is not attempted again, for people."""
    retry_at: datetime | None = None
    """When it may be attempted again."""


def standing(
    attempts: Sequence[Attempt], retry: Retry, now: datetime, forgiven_before: datetime | None = None
) -> Standing:
    """Where a stage stands after `attempts`: all on one fingerprint, oldest first, all ended, none with a result."""
    if not attempts:
        return Standing()
    newest = attempts[-1]
    if newest.state is AttemptState.SUCCEEDED and now < result_due(newest):
        return Standing(retry_at=result_due(newest))
    spending = [each for each in attempts if forgiven_before is None or ended_at(each) >= forgiven_before]
    given_up = _given_up(spending, retry)
    if given_up is not None:
        return Standing(given_up=given_up)
    if not spending or spending[-1] is not newest:
        return Standing()
    retry_at = ended_at(newest) + _wait(spending, retry)
    return Standing(retry_at=retry_at if retry_at > now else None)


def failure_of(attempt: Attempt) -> FailureClass:
    """What an ended attempt without a result spends."""
    return attempt.failure or FailureClass.FAILURE


def last_words(attempt: Attempt) -> str:
    """How an attempt ended, in words: its reason and message."""
    if attempt.state is AttemptState.SUCCEEDED:
        return "it ended well, but its result is not in the workspace"
    return ": ".join(part for part in (attempt.reason, attempt.message) if part) or "no reason known"


def _given_up(attempts: Sequence[Attempt], retry: Retry) -> str | None:
    budgets = (
        (FailureClass.FAILURE, "failed", "retry.failures", retry.failures),
        (FailureClass.DISRUPTION, "was disrupted", "retry.disruptions", retry.disruptions),
    )
    permanent = _of(attempts, FailureClass.PERMANENT)
    if permanent:
        return last_words(permanent[-1])
    for failure, verb, field, budget in budgets:
        spent = _of(attempts, failure)
        if len(spent) > budget:
            return f"{verb} {len(spent)} times ({field} is {budget}); at last {last_words(spent[-1])}"
    return None


def _wait(attempts: Sequence[Attempt], retry: Retry) -> timedelta:
    match failure_of(attempts[-1]):
        case FailureClass.FAILURE:
            doublings = min(len(_of(attempts, FailureClass.FAILURE)) - 1, _MAX_DOUBLINGS)
            return timedelta(seconds=min(retry.backoff_seconds * 2**doublings, retry.max_backoff_seconds))
        case FailureClass.DISRUPTION:
            return timedelta(seconds=min(retry.backoff_seconds, DISRUPTION_BACKOFF_SECONDS))
        case _:
            return timedelta(0)


def _of(attempts: Sequence[Attempt], failure: FailureClass) -> list[Attempt]:
    return [attempt for attempt in attempts if failure_of(attempt) is failure]

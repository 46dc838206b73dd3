"""Budgets and backoff: what attempts on one fingerprint leave to the next one."""

from __future__ import annotations

from datetime import datetime

import pytest

from branchmerge.api.resource import Retry
from branchmerge.core.model import Attempt, FailureClass
from branchmerge.core.retry import Standing, standing
from builders import at, ended_attempt

RETRY = Retry(failures=2, disruptions=1, backoff_seconds=30, max_backoff_seconds=100)

FAILURE, DISRUPTION = FailureClass.FAILURE, FailureClass.DISRUPTION
PERMANENT, STOPPED = FailureClass.PERMANENT, FailureClass.STOPPED
WELL = None


def history(*ends: FailureClass | None) -> list[Attempt]:
    """Attempts that ended so, 1000 seconds one after the other; the last one at the epoch."""
    last = len(ends)
    return [
        ended_attempt(end, (number - last) * 1000.0, number, start=(number - last) * 1000.0 - 500)
        for number, end in enumerate(ends, start=1)
    ]


@pytest.mark.parametrize(
    ("attempts", "now", "expected"),
    [
        pytest.param([], at(0), Standing(), id="never-attempted"),
        pytest.param(history(FAILURE), at(0), Standing(retry_at=at(30)), id="first-failure-waits-for-the-backoff"),
        pytest.param(history(FAILURE), at(30), Standing(), id="the-backoff-is-over"),
        pytest.param(history(FAILURE, FAILURE), at(0), Standing(retry_at=at(60)), id="it-doubles"),
        pytest.param(history(DISRUPTION), at(0), Standing(retry_at=at(5)), id="a-disruption-waits-5-seconds"),
        pytest.param(history(FAILURE, DISRUPTION), at(0), Standing(retry_at=at(5)), id="by-the-newest-attempt"),
        pytest.param(
            history(FAILURE, DISRUPTION, FAILURE),
            at(0),
            Standing(retry_at=at(60)),
            id="failures-apart-from-disruptions",
        ),
        pytest.param(history(STOPPED), at(0), Standing(), id="what-we-stopped-starts-at-once"),
        pytest.param(history(*[STOPPED] * 50), at(0), Standing(), id="stops-spend-nothing"),
        pytest.param(history(FAILURE, FAILURE, STOPPED), at(0), Standing(), id="a-stop-after-failures-does-not-wait"),
        pytest.param(history(WELL), at(0), Standing(retry_at=at(60)), id="the-result-may-not-be-visible-yet"),
        pytest.param(history(WELL), at(60), Standing(), id="the-result-is-lost"),
    ],
)
def test_next_attempt(attempts: list[Attempt], now: datetime, expected: Standing) -> None:
    assert standing(attempts, RETRY, now) == expected


@pytest.mark.parametrize(
    ("attempts", "reason"),
    [
        pytest.param(
            history(FAILURE, FAILURE, FAILURE), "failed 3 times (retry.failures is 2); at last Error", id="failures"
        ),
        pytest.param(
            history(DISRUPTION, STOPPED, DISRUPTION),
            "was disrupted 2 times (retry.disruptions is 1); at last Error",
            id="disruptions",
        ),
        pytest.param(history(PERMANENT), "Error", id="wrong-input-is-never-attempted-again"),
        pytest.param(history(PERMANENT, STOPPED), "Error", id="a-stop-does-not-hide-wrong-input"),
        pytest.param(
            history(WELL, WELL, WELL),
            "failed 3 times (retry.failures is 2); at last it ended well, but its result is not in the workspace",
            id="results-that-never-come",
        ),
    ],
)
def test_a_budget_that_is_spent(attempts: list[Attempt], reason: str) -> None:
    assert standing(attempts, RETRY, at(1000)) == Standing(given_up=reason)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        pytest.param([FAILURE] * 3, Standing(), id="failures"),
        pytest.param([PERMANENT], Standing(), id="wrong-input"),
        pytest.param([FAILURE], Standing(), id="the-backoff-too"),
    ],
)
def test_what_is_forgiven_spends_nothing(ends: list[FailureClass], expected: Standing) -> None:
    assert standing(history(*ends), RETRY, at(1), forgiven_before=at(1)) == expected


def test_only_what_ended_before_is_forgiven() -> None:
    attempts = history(FAILURE, FAILURE, FAILURE)
    assert standing(attempts, RETRY, at(0), forgiven_before=at(0)) == Standing(retry_at=at(30))


def test_the_backoff_has_an_end() -> None:
    patient = RETRY.model_copy(update={"failures": 10_000})
    assert standing(history(*[FAILURE] * 2000), patient, at(0)) == Standing(retry_at=at(100))


def test_no_backoff() -> None:
    eager = RETRY.model_copy(update={"backoff_seconds": 0})
    assert standing(history(FAILURE), eager, at(0)) == standing(history(DISRUPTION), eager, at(0)) == Standing()


def test_an_end_of_unknown_kind_is_a_failure() -> None:
    unknown = ended_attempt(FAILURE, 0)
    attempt = Attempt(*unknown.key, 1, unknown.state, started_at=at(0))
    assert standing([attempt], RETRY, at(0)) == Standing(retry_at=at(30))


def test_the_reason_tells_the_message_of_the_attempt() -> None:
    attempt = ended_attempt(PERMANENT, 0, reason="InvalidInput", message="data/math.jsonl:3: no column 'messages'")
    assert standing([attempt], RETRY, at(0)).given_up == "InvalidInput: data/math.jsonl:3: no column 'messages'"

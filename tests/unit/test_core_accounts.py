"""What attempts have cost."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.stage import ReportTask, StageAccount
from branchmerge.core.accounts import gpu_hours, stage_accounts
from branchmerge.core.model import Attempt, AttemptState, FailureClass, Observation, Start
from builders import at, ended_attempt, make_attempt, make_job, make_progress, make_result
from world import World

HOUR = 3600.0
FAILURE = FailureClass.FAILURE


def account(*attempts: Attempt, done: bool = True, now: float = 10 * HOUR) -> StageAccount:
    """The account of attempts on `evaluate/student`, whose fingerprint is certain from the start."""
    graph = World(make_job()).graph()
    key = graph["evaluate/student"].key
    assert key is not None
    moved = tuple(
        Attempt(
            *key, **{name: getattr(each, name) for name in Attempt.__slots__ if name not in ("stage", "fingerprint")}
        )
        for each in attempts
    )
    results = {key: make_result(*key)} if done else {}
    (only,) = stage_accounts(graph, Observation(now=at(now), attempts=moved, results=results))
    return only


def attempt(failure: FailureClass | None, start: float, first: float | None, end: float, **fields: Any) -> Attempt:
    """An attempt on 4 GPUs; times in hours."""
    return ended_attempt(
        failure,
        end * HOUR,
        start=start * HOUR,
        first_step_at=None if first is None else at(first * HOUR),
        gpus=4,
        **fields,
    )


@pytest.mark.parametrize(
    ("attempts", "done", "useful", "lost", "starting"),
    [
        pytest.param([attempt(None, 0, 0.5, 3, number=1)], True, 10, 0, 2, id="one-that-ended-well"),
        pytest.param([attempt(None, 0, None, 1)], True, 0, 0, 4, id="no-steps-reported"),
        pytest.param(
            [
                attempt(FAILURE, 0, 0.5, 3, progress=make_progress(7, 10, 2 * HOUR)),
                attempt(None, 3, 3.5, 5, number=2),
            ],
            True,
            6 + 6,
            4,
            4,
            id="after-its-last-progress-a-failed-attempt-is-lost",
        ),
        pytest.param(
            [attempt(FAILURE, 0, 0.5, 3), attempt(None, 3, 3.5, 5, number=2)],
            True,
            6,
            10,
            4,
            id="a-failed-attempt-without-progress-is-lost",
        ),
        pytest.param([attempt(FAILURE, 0, 1, 3, progress=make_progress(1, 2, 2 * HOUR))], False, 0, 8, 4,
                     id="without-an-output-nothing-is-useful"),
        pytest.param([attempt(FAILURE, 0, 1, 2, progress=make_progress(1, 2, 99 * HOUR))], True, 4, 0, 4,
                     id="a-clock-that-runs-ahead-adds-nothing"),
    ],
)  # fmt: skip
def test_the_split_of_gpu_hours(
    attempts: list[Attempt], done: bool, useful: float, lost: float, starting: float
) -> None:
    found = account(*attempts, done=done)
    assert found.useful_gpu_hours == pytest.approx(useful)
    assert found.lost_gpu_hours == pytest.approx(lost)
    assert found.starting_gpu_hours == pytest.approx(starting)
    assert found.gpu_hours == pytest.approx(useful + lost + starting)
    assert found.seconds == pytest.approx(HOUR * found.gpu_hours / 4)


def test_what_an_account_counts() -> None:
    ends = [FAILURE, FailureClass.DISRUPTION, FailureClass.DISRUPTION, FailureClass.STOPPED, None]
    attempts = [attempt(end, start, None, start + 1, number=start + 1) for start, end in enumerate(ends)]
    found = account(*attempts)
    assert (found.attempts, found.failures, found.disruptions, found.gpus) == (5, 1, 2, 4)


def test_what_it_waited_in_a_queue_is_not_paid_for() -> None:
    found = account(attempt(None, 0, 5, 8, allocated_at=at(4 * HOUR)))
    assert found.gpu_hours == pytest.approx(4 * 4)
    assert (found.starting_gpu_hours, found.useful_gpu_hours) == (pytest.approx(4), pytest.approx(12))
    assert found.seconds == pytest.approx(8 * HOUR), "wall time is wall time"


def test_a_running_attempt_counts_until_now() -> None:
    running = make_attempt(gpus=8, started_at=at(0))
    stopping = make_attempt(gpus=8, started_at=at(0), state=AttemptState.STOPPING)
    assert gpu_hours([running, stopping], at(HOUR / 2)) == pytest.approx(8)


def test_the_report_gets_an_account_of_every_stage_and_of_what_was_edited_away() -> None:
    world = World(make_job({"retry": {"failures": 1, "backoffSeconds": 1}}))
    world.gpus = 2
    world.attempts[("train/gone", "0" * 64, 1)] = ended_attempt(None, 60, stage="train/gone", gpus=1)
    report = _report_of(world)
    assert isinstance(report.config.task, ReportTask)
    accounts = {each.stage: each for each in report.config.task.accounts}
    assert set(accounts) == set(report.stage.needs) | {"train/gone"}
    assert list(accounts)[:3] == ["curate/math", "curate/coding", "curate/science"]
    assert (accounts["train/math"].attempts, accounts["train/math"].failures) == (2, 1)
    assert (accounts["train/gone"].useful_gpu_hours, accounts["train/gone"].gpu_hours) == (0, 1 / 60)


def _report_of(world: World) -> Start:
    """The start of the report. Every first attempt of a training fails; nobody has time for discards."""
    while True:
        starts = [action for action in world.plan().actions if isinstance(action, Start)]
        for start in starts:
            if isinstance(start.config.task, ReportTask):
                return start
        world.perform(starts)
        for each in world.active():
            world.end(each, FAILURE if each.stage.startswith("train/") and each.number == 1 else None)
        world.advance(60)

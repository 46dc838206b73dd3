"""The plan: what is started, stopped and forgotten, and how the job stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from branchmerge.api.status import StageState
from branchmerge.core.model import (
    Attempt,
    AttemptState,
    Discard,
    FailureClass,
    JobState,
    Plan,
    Start,
    Stop,
)
from builders import REMOVED, at, edited, make_attempt, make_job
from world import World, started_stages

FAILURE = FailureClass.FAILURE
PERMANENT = FailureClass.PERMANENT


def training(edits: dict[str, Any] | None = None) -> World:
    """A world in which all curations and the student's evaluation are done, and every branch trains."""
    world = World(make_job(edits))
    for _ in range(2):
        world.settle()
        if len(world.active()) == 4:
            for attempt in world.active():
                world.end(attempt)
    assert {each.stage for each in world.active()} == {"train/math", "train/coding", "train/science"}
    return world


def attempt_of(world: World, stage: str) -> Attempt:
    """The newest attempt of a stage."""
    return max((each for each in world.attempts.values() if each.stage == stage), key=lambda each: each.number)


def state_of(made: Plan, stage: str) -> StageState:
    return next(each.state for each in made.decisions if each.stage.name == stage)


def summary(made: Plan) -> list[tuple[str, str]]:
    """Actions as (what, stage)."""
    return [
        ("start", action.config.stage)
        if isinstance(action, Start)
        else ("stop" if isinstance(action, Stop) else "discard", action.attempt.stage)
        for action in made.actions
    ]


def test_what_needs_nothing_starts_first() -> None:
    made = World(make_job()).plan()
    assert summary(made) == [
        ("start", "curate/math"),
        ("start", "curate/coding"),
        ("start", "curate/science"),
        ("start", "evaluate/student"),
    ]
    assert made.state is JobState.RUNNING


def test_a_branch_does_not_wait_for_another_ones_curation() -> None:
    world = World(make_job())
    world.settle()
    world.end(attempt_of(world, "curate/coding"))
    assert summary(world.plan()) == [("start", "train/coding")]


def test_a_result_makes_its_stage_done_whatever_attempts_say() -> None:
    world = training()
    attempt = attempt_of(world, "train/coding")
    world.publish(attempt)
    world.end(attempt, PERMANENT)
    made = world.plan()
    assert state_of(made, "train/coding") is StageState.SUCCEEDED
    assert summary(made) == [("start", "evaluate/specialist/coding")]


def test_a_recreated_job_with_all_results_starts_nothing() -> None:
    world = World(make_job())
    world.run()
    world.attempts.clear()
    made = world.plan()
    assert (made.state, made.actions) == (JobState.SUCCEEDED, ())


def test_the_same_observation_in_another_order_gives_the_same_plan() -> None:
    world = training()
    backwards = World(world.job)
    backwards.results = dict(reversed(world.results.items()))
    backwards.attempts = dict(reversed(world.attempts.items()))
    assert backwards.plan() == world.plan()


class TestRetries:
    def test_a_failed_attempt_is_followed_by_another_after_the_backoff(self) -> None:
        world = training()
        world.end(attempt_of(world, "train/math"), FAILURE)
        made = world.plan()
        assert state_of(made, "train/math") is StageState.BACKING_OFF
        assert made.actions == ()
        assert made.wake_at == at(30)
        world.advance(30)
        (start,) = world.plan().actions
        assert isinstance(start, Start)
        assert (start.config.stage, start.config.attempt) == ("train/math", 2)

    def test_an_attempt_resumes_in_the_work_folder_of_the_one_before(self) -> None:
        world = training({"retry": {"backoffSeconds": 0}})
        output = world.graph()["train/math"].output
        world.end(attempt_of(world, "train/math"), FailureClass.DISRUPTION)
        (start,) = _starts(world.plan())
        assert (start.config.output, start.config.work) == (output, f"{output}.work")

    def test_numbers_go_on_after_the_highest_ever_seen(self) -> None:
        world = training({"retry": {"backoffSeconds": 0}})
        attempt = attempt_of(world, "train/math")
        world.attempts.pop((*attempt.key, 1))
        world.attempts[(*attempt.key, 7)] = replace(attempt, number=7)
        world.end(attempt_of(world, "train/math"), FAILURE)
        (start,) = _starts(world.plan())
        assert start.config.attempt == 8

    def test_an_attempt_that_runs_goes_on_when_the_budget_is_lowered(self) -> None:
        world = training({"retry": {"failures": 1, "backoffSeconds": 0}})
        world.end(attempt_of(world, "train/math"), FAILURE)
        world.settle()
        world.job = edited(world.job, {"retry.failures": 0})
        made = world.plan()
        assert (state_of(made, "train/math"), made.actions) == (StageState.RUNNING, ())

    def test_a_person_may_forgive_what_failed(self) -> None:
        world = training()
        world.end(attempt_of(world, "train/math"), PERMANENT)
        assert world.run().state is JobState.FAILED
        world.forgiven_before = world.now
        assert summary(world.plan()) == [("start", "train/math"), ("start", "train/coding"), ("start", "train/science")]
        assert world.run().state is JobState.SUCCEEDED

    def test_a_result_that_vanished_is_made_again(self) -> None:
        world = World(make_job())
        world.run()
        world.advance(3600)
        key = world.graph()["merge/final"].key
        assert key is not None
        del world.results[key]
        assert summary(world.plan()) == [("start", "merge/final")]
        assert world.run().state is JobState.SUCCEEDED

    def test_a_result_that_never_comes_ends_the_job(self) -> None:
        world = training()
        starts = 0
        while (made := world.settle()).state is JobState.RUNNING and starts < 100:
            for attempt in world.active():
                starts += attempt.stage == "train/math"
                world.end(attempt)
                if attempt.stage == "train/math":
                    world.results.pop(attempt.key)
            world.advance(600)
        assert (made.state, starts) == (JobState.FAILED, 3)
        assert "its result is not in the workspace" in made.message


class TestFailure:
    def test_fail_fast_stops_the_others_and_fails_once_they_have_ended(self) -> None:
        world = training()
        world.end(attempt_of(world, "train/math"), PERMANENT)
        made = world.settle()
        assert summary(made) == [("stop", "train/coding"), ("stop", "train/science")]
        assert (made.state, made.reason) == (JobState.RUNNING, "AttemptsEnding")
        assert state_of(made, "train/coding") is StageState.STOPPING
        for attempt in world.active():
            world.end(attempt, FailureClass.STOPPED)
        made = world.plan()
        assert (made.state, made.reason, made.actions) == (JobState.FAILED, "StageFailed", ())
        assert made.message == "train/math: Error: boom"
        assert state_of(made, "train/math") is StageState.FAILED
        assert state_of(made, "train/coding") is StageState.SKIPPED
        assert state_of(made, "curate/math") is StageState.SUCCEEDED

    def test_continue_lets_independent_stages_go_on(self) -> None:
        world = training({"failurePolicy": "Continue"})
        world.end(attempt_of(world, "train/math"), PERMANENT)
        made = world.run()
        assert (made.state, made.reason) == (JobState.FAILED, "StageFailed")
        states = {each.stage.name: each.state for each in made.decisions}
        assert {name for name, state in states.items() if state is StageState.SKIPPED} == {
            "merge/math-science",
            "merge/final",
            "evaluate/specialist/math",
            "evaluate/merged",
            "report",
        }
        assert states["evaluate/specialist/science"] is StageState.SUCCEEDED

    def test_continue_stops_what_can_no_longer_be_of_use(self) -> None:
        """A branch trains on while its data are curated anew; when the curation fails it is stopped."""
        world = training({"failurePolicy": "Continue"})
        world.job = edited(world.job, {"branches.0.data.limits": {"maxRows": 5}})
        world.settle()
        world.end(attempt_of(world, "curate/math"), PERMANENT)
        made = world.settle()
        assert summary(made) == [("stop", "train/math"), ("stop", "train/science")]
        assert [stop.reason for stop in made.actions if isinstance(stop, Stop)] == ["StageFailed"] * 2
        assert state_of(world.plan(), "train/math") is StageState.STOPPING
        assert world.run().state is JobState.FAILED

    def test_a_gate_that_is_missed_fails_the_job_with_all_artifacts(self) -> None:
        world = World(make_job())
        world.gates_pass = False
        made = world.run()
        assert (made.state, made.reason) == (JobState.FAILED, "GatesFailed")
        assert all(each.state is StageState.SUCCEEDED for each in made.decisions)
        assert "house: gain 0.1, passed: False" in made.message

    def test_an_edit_of_the_gate_revives_the_job(self) -> None:
        world = World(make_job())
        world.gates_pass = False
        world.run()
        world.gates_pass = True
        world.job = edited(world.job, {"evaluation.gates.0.minGain": "0.01"})
        starts = len(world.starts)
        assert world.run().state is JobState.SUCCEEDED
        assert started_stages(world.starts[starts:]) == ["report"]


class TestSuspend:
    def test_suspend_stops_everything_and_starts_nothing(self) -> None:
        world = training({"branches.0.training": {"checkpoint": {"gracePeriodSeconds": 300}}})
        world.job = edited(world.job, {"suspend": True})
        made = world.settle()
        stops = [action for action in made.actions if isinstance(action, Stop)]
        assert len(stops) == len(made.actions) == 3
        assert {stop.reason for stop in stops} == {"Suspended"}
        assert {stop.attempt.stage: stop.grace_seconds for stop in stops} == {
            "train/math": 300,
            "train/coding": 120,
            "train/science": 120,
        }
        assert made.state is JobState.RUNNING

    def test_the_job_is_suspended_once_every_attempt_has_ended(self) -> None:
        world = training()
        world.job = edited(world.job, {"suspend": True})
        made = world.run()
        assert (made.state, made.wake_at) == (JobState.SUSPENDED, None)
        assert state_of(made, "train/math") is StageState.SUSPENDED
        assert state_of(made, "curate/math") is StageState.SUCCEEDED
        assert world.plan().actions == ()

    def test_an_attempt_that_does_not_end_holds_the_job_open(self) -> None:
        world = training()
        world.job = edited(world.job, {"suspend": True})
        world.settle()
        assert {each.state for each in world.active()} == {AttemptState.STOPPING}
        world.advance(100_000)
        assert (world.plan().state, world.plan().reason) == (JobState.RUNNING, "AttemptsEnding")

    def test_resume_goes_on_at_once_with_the_next_attempts(self) -> None:
        world = training()
        world.job = edited(world.job, {"suspend": True})
        world.run()
        world.job = edited(world.job, {"suspend": False})
        assert [(start.config.stage, start.config.attempt) for start in _starts(world.plan())] == [
            ("train/math", 2),
            ("train/coding", 2),
            ("train/science", 2),
        ]

    def test_a_finished_job_is_not_suspended(self) -> None:
        world = World(make_job())
        world.run()
        world.job = edited(world.job, {"suspend": True})
        assert world.plan().state is JobState.SUCCEEDED

    def test_a_failed_job_is_not_suspended(self) -> None:
        world = training()
        world.end(attempt_of(world, "train/math"), PERMANENT)
        world.run()
        world.job = edited(world.job, {"suspend": True})
        assert world.plan().state is JobState.FAILED

    def test_a_suspended_job_does_not_miss_its_deadline(self) -> None:
        world = training({"deadlineSeconds": 100})
        world.job = edited(world.job, {"suspend": True})
        world.run()
        world.advance(1000)
        assert world.plan().state is JobState.SUSPENDED


class TestDeadline:
    def test_the_job_is_stopped_at_its_deadline(self) -> None:
        world = training({"deadlineSeconds": 100})
        assert world.plan().wake_at == at(100)
        world.now = at(99)
        assert world.plan().actions == ()
        world.now = at(100)
        made = world.settle()
        assert {action.reason for action in made.actions if isinstance(action, Stop)} == {"DeadlineExceeded"}
        made = world.run()
        assert (made.state, made.reason) == (JobState.FAILED, "DeadlineExceeded")
        assert state_of(made, "train/math") is StageState.SKIPPED

    def test_a_job_that_is_done_has_no_deadline(self) -> None:
        world = World(make_job({"deadlineSeconds": 100}))
        world.run()
        world.advance(1000)
        assert world.plan().state is JobState.SUCCEEDED

    def test_a_later_deadline_revives_the_job(self) -> None:
        world = training({"deadlineSeconds": 100})
        world.now = at(100)
        world.run()
        world.job = edited(world.job, {"deadlineSeconds": 1000})
        assert world.run().state is JobState.SUCCEEDED


class TestEdits:
    def test_an_obsolete_attempt_is_stopped_before_the_new_one_starts(self) -> None:
        world = training()
        old = attempt_of(world, "train/coding")
        world.job = edited(world.job, {"branches.1.training": {"learningRate": 2e-5}})
        made = world.settle()
        assert summary(made) == [("stop", "train/coding")]
        assert [stop.reason for stop in made.actions if isinstance(stop, Stop)] == ["Obsolete"]
        assert state_of(made, "train/coding") is StageState.PENDING
        assert world.settle().actions == ()
        world.end(old, FailureClass.STOPPED)
        assert summary(world.settle()) == [("start", "train/coding"), ("discard", "train/coding")]
        assert attempt_of(world, "train/coding").number == 1

    def test_an_edit_that_is_taken_back_in_time_only_costs_one_attempt(self) -> None:
        world = training()
        original = world.job
        world.job = edited(original, {"branches.1.training": {"learningRate": 2e-5}})
        world.settle()
        world.job = original
        assert state_of(world.settle(), "train/coding") is StageState.STOPPING
        world.end(attempt_of(world, "train/coding"), FailureClass.STOPPED)
        (start,) = _starts(world.settle())
        assert (start.config.stage, start.config.attempt) == ("train/coding", 2)

    def test_a_branch_trains_on_while_its_data_are_curated_anew(self) -> None:
        world = training()
        world.job = edited(world.job, {"branches.1.data.limits": {"maxRows": 5}})
        made = world.settle()
        assert summary(made) == [("start", "curate/coding"), ("discard", "curate/coding")]
        assert state_of(made, "train/coding") is StageState.RUNNING
        world.end(attempt_of(world, "curate/coding"))
        assert summary(world.settle()) == [("stop", "train/coding")]

    def test_a_branch_trains_on_when_its_rows_turn_out_equal(self) -> None:
        world = World(make_job())
        world.same_rows = {"coding"}
        world.settle()
        for attempt in world.active():
            world.end(attempt)
        world.settle()
        world.job = edited(world.job, {"branches.1.data.limits": {"maxRows": 5}})
        world.settle()
        world.end(attempt_of(world, "curate/coding"))
        made = world.settle()
        assert made.actions == ()
        assert state_of(made, "train/coding") is StageState.RUNNING

    def test_stages_that_left_the_job_are_stopped_and_forgotten(self) -> None:
        world = World(make_job())
        world.settle()
        world.job = edited(world.job, {"evaluation": REMOVED})
        assert summary(world.settle()) == [("stop", "evaluate/student")]
        world.end(attempt_of(world, "evaluate/student"), FailureClass.STOPPED)
        assert summary(world.settle()) == [("discard", "evaluate/student")]
        assert world.settle().actions == ()

    def test_the_job_is_not_done_while_an_obsolete_attempt_is_active(self) -> None:
        world = World(make_job())
        world.run()
        gone = make_attempt("train/gone", state=AttemptState.STOPPING)
        world.attempts[(*gone.key, 1)] = gone
        made = world.plan()
        assert (made.state, made.reason) == (JobState.RUNNING, "AttemptsEnding")
        assert "train/gone #1" in made.message


class TestLateExits:
    def test_an_attempt_with_a_result_may_exit_by_itself(self) -> None:
        world = training()
        world.publish(attempt_of(world, "train/coding"))
        made = world.settle()
        assert summary(made) == [("start", "evaluate/specialist/coding")]
        assert made.wake_at == at(60)

    def test_one_that_hangs_in_its_teardown_is_stopped(self) -> None:
        world = training()
        world.publish(attempt_of(world, "train/coding"))
        world.settle()
        world.advance(60)
        made = world.plan()
        assert summary(made) == [("stop", "train/coding")]
        assert [stop.reason for stop in made.actions if isinstance(stop, Stop)] == ["ResultIsThere"]
        assert state_of(made, "train/coding") is StageState.SUCCEEDED

    def test_the_job_is_done_when_the_report_has_exited(self) -> None:
        world = World(make_job())
        while "report" not in {each.stage for each in world.active()}:
            for attempt in world.active():
                world.end(attempt)
            world.settle()
        world.publish(attempt_of(world, "report"))
        assert world.plan().state is JobState.RUNNING
        world.end(attempt_of(world, "report"))
        assert world.plan().state is JobState.SUCCEEDED


def test_two_active_attempts_on_one_stage_are_reduced_to_the_newest() -> None:
    world = training()
    attempt = attempt_of(world, "train/math")
    world.attempts[(*attempt.key, 2)] = replace(attempt, number=2)
    made = world.plan()
    assert [(stop.attempt.number, stop.reason) for stop in made.actions if isinstance(stop, Stop)] == [
        (1, "Superseded")
    ]
    assert state_of(made, "train/math") is StageState.RUNNING


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        pytest.param("train/math", "attempt 1 runs", id="running"),
        pytest.param("merge/final", "waits for merge/math-science, train/coding", id="waiting"),
        pytest.param("curate/math", "done", id="done"),
        pytest.param("report", "waits for train/math, train/coding, train/science and 6 more", id="waiting-for-many"),
    ],
)
def test_reasons_are_words_for_people(stage: str, reason: str) -> None:
    made = training().plan()
    assert next(each.reason for each in made.decisions if each.stage.name == stage) == reason


def test_the_job_says_what_runs() -> None:
    assert training().plan().message == "4 of 14 stages are done; train/math, train/coding, train/science running"


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda world: None, id="nothing-happened"),
        pytest.param(lambda world: world.end(attempt_of(world, "train/math"), FAILURE), id="a-stage-backs-off"),
        pytest.param(lambda world: world.end(attempt_of(world, "train/math"), PERMANENT), id="the-job-fails"),
    ],
)
def test_an_unchanged_world_plans_nothing(disturb: Callable[[World], None]) -> None:
    world = training()
    disturb(world)
    world.settle()
    assert world.plan().actions == ()


def test_what_is_obsolete_and_ended_is_discarded_once() -> None:
    world = training()
    world.job = edited(world.job, {"merge.seed": 3, "branches.1.data.limits": {"maxRows": 5}})
    made = world.settle()
    assert any(isinstance(action, Discard) for action in made.actions)
    assert not world.plan().actions


def _starts(made: Plan) -> list[Start]:
    return [action for action in made.actions if isinstance(action, Start)]

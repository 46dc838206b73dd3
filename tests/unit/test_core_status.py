"""The status that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchmerge.api.status import Condition, Phase, Status
from branchmerge.core.conditions import refused
from branchmerge.core.model import Attempt, AttemptState, FailureClass
from branchmerge.core.status import job_status
from builders import REMOVED, at, edited, make_job, make_progress, make_score
from world import World

KINDS = ("curate", "train", "merge", "evaluate", "report")


def status(world: World, previous: Status | None = None) -> Status:
    """Carry out one pass, as an operator does, and give the status that it writes."""
    return job_status(world.job, world.settle(), world.observe(), previous)


def until(kind: str, edits: dict[str, Any] | None = None) -> World:
    """A world in which everything before stages of this kind is done, and they run."""
    world = World(make_job(edits))
    earlier = KINDS[: KINDS.index(kind)]
    for _ in range(10):
        world.settle()
        for attempt in world.active():
            if attempt.stage.partition("/")[0] in earlier:
                world.end(attempt)
    return world


def change(world: World, stage: str, **fields: Any) -> Attempt:
    """Change what is observed of a stage's newest attempt."""
    attempt = [each for each in world.attempts.values() if each.stage == stage][-1]
    changed = replace(attempt, **fields)
    world.attempts[(*attempt.key, attempt.number)] = changed
    return changed


def condition(found: Status, name: str) -> Condition:
    return next(each for each in found.conditions if each.type == name)


@pytest.mark.parametrize(
    ("kind", "phase", "branches", "true"),
    [
        pytest.param("curate", Phase.CURATING, "0/3", {"Accepted"}, id="curating"),
        pytest.param("train", Phase.TRAINING, "0/3", {"Accepted", "DataReady"}, id="training"),
        pytest.param("merge", Phase.MERGING, "3/3", {"Accepted", "DataReady", "BranchesTrained"}, id="merging"),
        pytest.param(
            "evaluate", Phase.EVALUATING, "3/3", {"Accepted", "DataReady", "BranchesTrained", "Merged"}, id="evaluating"
        ),
        pytest.param(
            "report",
            Phase.EVALUATING,
            "3/3",
            {"Accepted", "DataReady", "BranchesTrained", "Merged", "Evaluated"},
            id="reporting",
        ),
    ],
)
def test_how_far_the_job_is(kind: str, phase: Phase, branches: str, true: set[str]) -> None:
    found = status(until(kind))
    assert (found.phase, found.branches) == (phase, branches)
    assert {each.type for each in found.conditions if each.status == "True"} == true


def test_a_job_that_has_not_begun_is_pending() -> None:
    world = World(make_job())
    found = job_status(world.job, world.plan(), world.observe())
    assert (found.phase, found.progress, found.branches, found.score) == (Phase.PENDING, "0%", "0/3", None)
    assert condition(found, "DataReady").reason == "Pending"


def test_a_job_that_succeeded() -> None:
    world = World(make_job())
    world.run()
    found = status(world)
    assert (found.phase, found.progress, found.completion_time) == (Phase.SUCCEEDED, "100%", world.now)
    assert {each.type for each in found.conditions if each.status == "True"} == {
        "Accepted", "DataReady", "BranchesTrained", "Merged", "Evaluated", "GatesPassed", "Succeeded",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "failure", "name", "reason"),
    [
        pytest.param({}, FailureClass.PERMANENT, "Failed", "StageFailed", id="failed"),
        pytest.param({"suspend": True}, None, "Suspended", "Suspended", id="suspended"),
        pytest.param({"deadlineSeconds": 1}, None, "Failed", "DeadlineExceeded", id="late"),
    ],
)
def test_a_job_that_ended_otherwise(
    edits: dict[str, Any], failure: FailureClass | None, name: str, reason: str
) -> None:
    world = until("train")
    world.advance(5)
    world.job = edited(world.job, edits)
    world.run(lambda attempt: failure)
    found = status(world)
    assert found.phase == name
    assert (condition(found, name).status, condition(found, name).reason) == ("True", reason)
    assert (found.completion_time is None) is (name == "Suspended")
    assert condition(found, "Succeeded").status == "False"


class TestConditions:
    def test_all_types_are_there_once(self) -> None:
        found = status(World(make_job()))
        assert [each.type for each in found.conditions] == [
            "Accepted", "DataReady", "BranchesTrained", "Merged", "Evaluated", "GatesPassed",
            "Succeeded", "Failed", "Suspended", "Stalled",
        ]  # fmt: skip

    def test_the_transition_time_is_kept_while_the_status_is(self) -> None:
        world = until("train")
        before = status(world)
        world.advance(100)
        world.end(next(each for each in world.active() if each.stage == "train/math"))
        after = status(world, before)
        assert condition(after, "DataReady").last_transition_time == at(0)
        assert condition(after, "BranchesTrained").last_transition_time == at(0)
        assert condition(after, "BranchesTrained").message == "1 of 3 stages are done"

    def test_the_transition_time_moves_with_the_status(self) -> None:
        world = until("train")
        before = status(world)
        world.advance(100)
        for attempt in world.active():
            world.end(attempt)
        after = status(world, before)
        assert condition(before, "BranchesTrained").status == "False"
        assert condition(after, "BranchesTrained").status == "True"
        assert condition(after, "BranchesTrained").last_transition_time == at(100)

    def test_they_tell_of_which_generation_they_are(self) -> None:
        world = World(make_job(generation=7))
        found = status(world)
        assert found.observed_generation == 7
        assert {each.observed_generation for each in found.conditions} == {7}

    @pytest.mark.parametrize(
        ("edits", "gates_pass", "expected"),
        [
            pytest.param({}, True, ("True", "GatesPassed"), id="passed"),
            pytest.param({}, False, ("False", "GatesFailed"), id="missed"),
            pytest.param({"evaluation.gates": REMOVED}, True, ("Unknown", "NoGates"), id="no-gates"),
            pytest.param({"evaluation": REMOVED}, True, ("Unknown", "NoGates"), id="no-evaluation"),
        ],
    )
    def test_gates(self, edits: dict[str, Any], gates_pass: bool, expected: tuple[str, str]) -> None:
        world = World(make_job(edits))
        world.gates_pass = gates_pass
        world.run()
        found = condition(status(world), "GatesPassed")
        assert (found.status, found.reason) == expected

    def test_gates_are_unknown_until_the_report_has_judged(self) -> None:
        assert condition(status(until("report")), "GatesPassed").status == "Unknown"

    def test_without_an_evaluation_nothing_was_evaluated(self) -> None:
        world = World(make_job({"evaluation": REMOVED}))
        world.run()
        found = condition(status(world), "Evaluated")
        assert (found.status, found.reason) == ("False", "NotRequested")

    def test_a_failed_stage_is_named_where_it_is_missing(self) -> None:
        world = until("train")
        world.run(lambda attempt: FailureClass.PERMANENT if attempt.stage == "train/math" else None)
        found = condition(status(world), "BranchesTrained")
        assert (found.reason, found.message) == ("StageFailed", "failed: train/math")
        assert condition(status(world), "Failed").message == "train/math: Error: boom"

    def test_long_messages_are_cut(self) -> None:
        world = until("train")
        attempt = next(each for each in world.active() if each.stage == "train/math")
        world.end(attempt, FailureClass.PERMANENT)
        change(world, "train/math", message="x" * 10_000)
        world.run()
        found = status(world)
        assert len(condition(found, "Failed").message) == 4096
        assert max(len(each.reason or "") for each in found.stages) == 1024


class TestStalled:
    def test_not_while_a_stage_backs_off_beside_others_that_run(self) -> None:
        world = until("train")
        world.end(next(each for each in world.active() if each.stage == "train/math"), FailureClass.FAILURE)
        assert condition(status(world), "Stalled").status == "False"

    def test_when_nothing_runs_and_a_stage_backs_off(self) -> None:
        world = until("report")
        world.end(world.active()[0], FailureClass.FAILURE)
        found = condition(status(world), "Stalled")
        assert (found.status, found.reason) == ("True", "BackingOff")
        assert found.message == "report: attempt 1: Error: boom; next attempt at 12:00:30 UTC"
        world.advance(30)
        assert condition(status(world), "Stalled").status == "False"

    def test_while_every_attempt_waits_for_what_it_needs(self) -> None:
        world = until("train")
        told = {"reason": "Unschedulable", "message": "Insufficient nvidia.com/gpu"}
        *waiting, works = [attempt.stage for attempt in world.active()]
        for stage in waiting:
            change(world, stage, **told)
        assert condition(status(world), "Stalled").status == "False", f"{works} works"
        change(world, works, **told)
        found = status(world)
        assert (condition(found, "Stalled").status, condition(found, "Stalled").reason) == ("True", "Unschedulable")
        assert "train/science: Unschedulable: Insufficient nvidia.com/gpu" in condition(found, "Stalled").message
        stage = next(each for each in found.stages if each.name == "train/math")
        assert stage.state == "Running"
        assert stage.reason == "attempt 1 waits: Unschedulable: Insufficient nvidia.com/gpu"

    def test_when_nothing_runs_and_nothing_can_be_started(self) -> None:
        world = World(make_job())
        *refused, other = [each.stage.name for each in world.plan().decisions if each.ready]
        world.obstacles = dict.fromkeys(refused, "Job tiny was refused: exceeded quota")
        plan, observation = world.plan(), world.observe()
        assert condition(job_status(world.job, plan, observation), "Stalled").status == "False", f"{other} can be"
        world.obstacles[other] = "Job tiny was refused: exceeded quota"
        found = condition(job_status(world.job, world.plan(), world.observe()), "Stalled")
        assert (found.status, found.reason) == ("True", "CannotStart")
        assert "curate/math: Job tiny was refused: exceeded quota" in found.message

    @pytest.mark.parametrize(
        ("reported", "now", "stalled"),
        [
            pytest.param(None, 1799, "False", id="it-may-load-for-half-an-hour"),
            pytest.param(None, 1800, "True", id="it-loads-too-long"),
            pytest.param(1000, 2799, "False", id="it-reported-not-long-ago"),
            pytest.param(1000, 2800, "True", id="it-has-gone-silent"),
        ],
    )
    def test_a_running_attempt_that_reports_nothing(self, reported: int | None, now: int, stalled: str) -> None:
        world = until("report")
        if reported is not None:
            change(world, "report", progress=make_progress(1, 2, reported))
        world.advance(now)
        found = condition(status(world), "Stalled")
        assert found.status == stalled
        assert ("report" in found.message) is (stalled == "True")

    def test_the_plan_wakes_when_an_attempt_has_gone_silent(self) -> None:
        assert until("report").plan().wake_at == at(1800)


class TestProgress:
    def test_stages_count_by_their_weight(self) -> None:
        # 3 curations of 2 and one evaluation of 6, of 3 x (2 + 20) + 2 x 3 + 5 x 6 + 1 = 103
        world = until("train")
        world.end(next(each for each in world.active() if each.stage == "evaluate/student"))
        assert status(world).progress == "11%"

    def test_steps_of_running_attempts_count(self) -> None:
        world = until("train")
        change(world, "train/math", progress=make_progress(5, 10))
        assert status(world).progress == "15%"  # 3 x 2 + 20 / 2 of 103

    def test_it_does_not_fall_back_while_a_stage_is_attempted_again(self) -> None:
        world = until("train", {"retry": {"backoffSeconds": 0}})
        world.end(change(world, "train/math", progress=make_progress(5, 10)), FailureClass.FAILURE)
        world.settle()
        assert status(world).progress == "15%"

    def test_a_stage_that_is_not_done_is_never_wholly_counted(self) -> None:
        world = until("report")
        change(world, "report", progress=make_progress(10, 10))
        assert status(world).progress == "99%"


class TestStages:
    def test_a_stage_that_runs(self) -> None:
        world = until("train")
        progress = make_progress(310, 940, 60, loss=0.4119, tokens_per_second=41000.4, eta_seconds=99.6)
        change(world, "train/math", gpus=8, child_kind="PyTorchJob", child_name="tiny-train-math", progress=progress)
        world.advance(1800)
        found = next(each for each in status(world).stages if each.name == "train/math")
        assert found.model_dump(mode="json", exclude_none=True, exclude={"fingerprint"}) == {
            "name": "train/math",
            "state": "Running",
            "reason": "attempt 1 runs",
            "attempts": 1,
            "failures": 0,
            "disruptions": 0,
            "child": {"kind": "PyTorchJob", "name": "tiny-train-math"},
            "startTime": "2025-03-01T12:00:00Z",
            "gpuHours": "4.0",
            "progress": {
                "step": 310,
                "steps": 940,
                "loss": "0.412",
                "tokensPerSecond": "41000",
                "eta": "2025-03-01T12:02:40Z",
            },
        }

    def test_attempts_are_counted_by_how_they_ended(self) -> None:
        world = until("train", {"retry": {"backoffSeconds": 0}})
        for failure in (FailureClass.FAILURE, FailureClass.DISRUPTION, FailureClass.DISRUPTION):
            attempt = next(each for each in world.active() if each.stage == "train/math")
            world.end(attempt, failure)
            world.settle()
        found = next(each for each in status(world).stages if each.name == "train/math")
        assert (found.attempts, found.failures, found.disruptions) == (4, 1, 2)

    def test_a_stage_that_is_done(self) -> None:
        world = until("merge")
        found = next(each for each in status(world).stages if each.name == "train/math")
        assert (found.state, found.completion_time) == ("Succeeded", at(0))
        assert found.digest == world.results[world.graph()["train/math"].key].digest  # type: ignore[index]

    def test_a_stage_whose_attempts_nobody_remembers(self) -> None:
        world = World(make_job())
        world.run()
        world.attempts.clear()
        found = status(world).stages[0]
        assert (found.attempts, found.start_time, found.completion_time) == (0, at(0), at(0))

    def test_a_stage_whose_fingerprint_is_not_certain_has_none(self) -> None:
        found = {each.name: each.fingerprint for each in status(World(make_job())).stages}
        assert found["train/math"] is None
        assert found["curate/math"] is not None


class TestScores:
    def world(self) -> World:
        world = World(make_job())
        world.run()
        for name, value in (("evaluate/student", 0.5), ("evaluate/merged", 0.75)):
            key = world.graph()[name].key
            assert key is not None
            scores = [make_score("house", value), make_score("guide", 0.25), make_score("house", 0.9, metric="maj@4")]
            world.results[key] = world.results[key].model_copy(update={"scores": scores})
        return world

    def test_the_score_is_the_merged_models_on_test_suites(self) -> None:
        assert status(self.world()).score == "0.750"

    def test_scores_are_text(self) -> None:
        first = status(self.world()).scores[0]
        assert (first.model, first.suite, first.metric, first.value) == ("student", "house", "pass@1", "0.500")
        assert first.ci95 == ["0.400", "0.600"]

    def test_every_model_and_metric_is_there(self) -> None:
        assert {(each.model, each.metric) for each in status(self.world()).scores} == {
            ("student", "pass@1"), ("student", "maj@4"), ("merged", "pass@1"), ("merged", "maj@4"),
        }  # fmt: skip


def test_gpu_hours_count_every_attempt() -> None:
    world = until("train")
    for stage in ("train/math", "train/coding"):
        change(world, stage, gpus=8)
    world.advance(3600)
    change(world, "train/coding", state=AttemptState.FAILED, failure=FailureClass.FAILURE, ended_at=at(1800))
    assert status(world).gpu_hours == "12.0"


def test_pins_are_kept_in_order() -> None:
    world = World(make_job())
    world.pins = {"suites/house": "sha256:2", "student": "1" * 40, "branches/math/sources/0": "sha256:3"}
    assert [pin.name for pin in status(world).pins] == ["branches/math/sources/0", "student", "suites/house"]


def test_the_time_of_completion_is_kept() -> None:
    world = World(make_job())
    world.run()
    before = status(world)
    world.advance(1000)
    assert status(world, before).completion_time == before.completion_time


def test_a_status_survives_its_own_json() -> None:
    world = until("train")
    change(world, "train/math", progress=make_progress(1, 2, loss=0.5, eta_seconds=5.0))
    found = status(world)
    assert Status.model_validate_json(found.to_json()) == found


def test_an_unchanged_world_has_an_unchanged_status() -> None:
    world = until("train")
    change(world, "train/math", progress=make_progress(1, 2, loss=0.5, eta_seconds=5.0))
    before = status(world)
    world.advance(60)
    assert status(world, before) == before


def test_a_refused_spec_leaves_the_other_conditions_and_the_moment_of_the_first_refusal() -> None:
    world = World(make_job())
    held = job_status(world.job, world.plan(), world.observe()).conditions

    accepted, first = refused("spec.x: wrong: fix it", 2, at(10), held)
    _, again = refused("spec.y: wrong: fix it", 3, at(20), first)

    assert (accepted.type, accepted.status, accepted.reason) == ("Accepted", "False", "InvalidSpec")
    assert {each.type for each in again} == {each.type for each in held}
    assert [each for each in again if each.type != "Accepted"] == [each for each in held if each.type != "Accepted"]
    assert (again[0].message, again[0].last_transition_time) == ("spec.y: wrong: fix it", at(10))

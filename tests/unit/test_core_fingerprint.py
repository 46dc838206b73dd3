"""What an edit re-runs, and what it does not. Every row is an edit of a job that is done."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.core.fingerprint import fingerprint
from branchmerge.core.model import JobState
from builders import REMOVED, edited, make_job
from world import World, started_stages

MATH = "evaluate/specialist/math"
CODING = "evaluate/specialist/coding"
SCIENCE = "evaluate/specialist/science"
MERGES = {"merge/math-science", "merge/final"}
MERGED = {*MERGES, "evaluate/merged", "report"}
EVALUATIONS = {"evaluate/student", MATH, CODING, SCIENCE, "evaluate/merged"}
TRAININGS = {"train/math", "train/coding", "train/science"}
ALL_BUT_CURATIONS = TRAININGS | MERGES | EVALUATIONS | {"report"}


def rerun_after(world: World) -> set[str]:
    """Stages that run when the job, once done, is planned again; none of them twice."""
    before = len(world.starts)
    assert world.run().state is JobState.SUCCEEDED
    started = started_stages(world.starts[before:])
    assert len(started) == len(set(started))
    return set(started)


def done() -> World:
    world = World(make_job())
    world.pins = {"student": "1" * 40, "branches/math/sources/0": "sha256:1", "suites/house": "sha256:1"}
    world.run()
    return world


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"resources": {"pool": "h800", "nodes": 4, "gpusPerNode": 2}}, id="resources"),
        pytest.param({"branches.0.resources": {"pool": "a100"}}, id="resources-of-a-branch"),
        pytest.param({"merge.resources": {"pool": "cpu"}}, id="resources-of-merges"),
        pytest.param({"evaluation.resources": {"gpusPerNode": 8}}, id="resources-of-evaluations"),
        pytest.param({"retry": {"failures": 9, "backoffSeconds": 1}}, id="retry"),
        pytest.param({"training.checkpoint": {"everySteps": 5, "keep": 9}}, id="checkpoint-cadence"),
        pytest.param({"branches.0.training": {"checkpoint": {"everySteps": 5}}}, id="checkpoint-cadence-of-a-branch"),
        pytest.param({"training.microBatchSize": 2}, id="micro-batch-of-the-same-global-batch"),
        pytest.param({"training.gradientCheckpointing": True}, id="recomputed-activations"),
        pytest.param({"failurePolicy": "Continue", "deadlineSeconds": 9999}, id="policies"),
        pytest.param({"deletionPolicy": "Delete", "ttlSecondsAfterFinished": 60}, id="how-the-job-goes"),
        pytest.param({"podTemplate": {"env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}}, id="pods"),
        pytest.param({"workspace": {"path": "elsewhere"}}, id="workspace"),
        pytest.param({"student.model": "copies/student"}, id="folder-of-a-pinned-student"),
        pytest.param({"branches.0.data.sources.0.path": "copies/m.jsonl"}, id="folder-of-pinned-data"),
        pytest.param({"evaluation.suites.0.path": "copies/h.jsonl"}, id="folder-of-a-pinned-suite"),
        pytest.param({"training.seed": 42, "training.epochs": 3}, id="a-default-written-out"),
        pytest.param({"branches.1.training": {"learningRate": 1e-5}}, id="an-override-that-changes-nothing"),
        pytest.param({"branches.0.data.limits": {}}, id="limits-without-a-limit"),
        pytest.param({"training.maxGradNorm": 1}, id="a-whole-number-for-a-fraction"),
    ],
)
def test_what_changes_no_fingerprint(edits: dict[str, Any]) -> None:
    world = done()
    world.job = edited(world.job, edits)
    assert rerun_after(world) == set()


def test_another_name_of_the_job_changes_no_fingerprint() -> None:
    world = done()
    world.job = make_job(name="another")
    assert rerun_after(world) == set()


@pytest.mark.parametrize(
    ("edits", "rerun"),
    [
        pytest.param({"training.learningRate": 2e-5}, ALL_BUT_CURATIONS - {"evaluate/student"}, id="training"),
        pytest.param(
            {"branches.1.training": {"learningRate": 2e-5}},
            {"train/coding", CODING, "merge/final", "evaluate/merged", "report"},
            id="one-leaf-of-one-branch",
        ),
        pytest.param(
            {"branches.1.training": {"schedule": {"warmupRatio": 0.1}}},
            {"train/coding", CODING, "merge/final", "evaluate/merged", "report"},
            id="one-leaf-deep-in-one-branch",
        ),
        pytest.param({"training.maxSteps": 10}, ALL_BUT_CURATIONS - {"evaluate/student"}, id="steps-not-epochs"),
        pytest.param(
            {"training.parallelism": {"strategy": "DeepSpeed"}},
            ALL_BUT_CURATIONS - {"evaluate/student"},
            id="how-a-branch-is-spread",
        ),
        pytest.param(
            {"branches.1.data.limits": {"maxRows": 5}},
            {"curate/coding", "train/coding", CODING, "merge/final", "evaluate/merged", "report"},
            id="data-of-a-branch",
        ),
        pytest.param(
            {"branches.0.data.limits": {"maxRows": 5}},
            {"curate/math", "train/math", "train/science", MATH, SCIENCE, *MERGED},
            id="data-of-a-branch-that-another-replays",
        ),
        pytest.param(
            {"branches.2.replay.fraction": 0.2}, {"train/science", SCIENCE, *MERGED}, id="share-of-replayed-rows"
        ),
        pytest.param(
            {"branches.2.data.sources.0.dataset.split": "test"},
            {"curate/science", "train/science", SCIENCE, *MERGED},
            id="split-of-a-data-set",
        ),
        pytest.param(
            {"branches.2.data.sources.0.dataset.revision": "v2"},
            {"curate/science", "train/science", SCIENCE, *MERGED},
            id="revision-of-a-data-set-without-a-pin",
        ),
        pytest.param({"merge.seed": 7}, MERGED, id="all-merges"),
        pytest.param({"merge.dtype": "float32"}, MERGED, id="arithmetic-of-merges"),
        pytest.param(
            {"merge.recipe.1.base": "math-science", "merge.recipe.1.models": ["coding"]},
            {"merge/final", "evaluate/merged", "report"},
            id="the-last-step-of-the-recipe",
        ),
        pytest.param({"merge.recipe.0.base": "math", "merge.recipe.0.models": ["science"]}, MERGED, id="first-step"),
        pytest.param(
            {"merge.recipe.1.name": "result"}, {"merge/result", "evaluate/merged", "report"}, id="name-of-the-last-step"
        ),
        pytest.param(
            {"evaluation.suites.0.samples": 4, "evaluation.suites.0.generation": {"temperature": 0.6}},
            EVALUATIONS | {"report"},
            id="samples-of-a-suite",
        ),
        pytest.param({"evaluation.seed": 1}, EVALUATIONS | {"report"}, id="seed-of-the-evaluation"),
        pytest.param(
            {"evaluation.suites.2": {"name": "new", "path": "n.jsonl", "method": "exact"}},
            EVALUATIONS | {"report"},
            id="a-suite-more",
        ),
        pytest.param({"evaluation.suites.1.role": "Test"}, {"report"}, id="role-of-a-suite"),
        pytest.param({"evaluation.gates.0.minGain": "0.03"}, {"report"}, id="a-gate"),
        pytest.param({"evaluation.models": ["student", "merged"]}, {"report"}, id="fewer-models"),
        pytest.param({"evaluation": REMOVED}, {"report"}, id="no-evaluation-any-more"),
    ],
)
def test_what_an_edit_runs_again(edits: dict[str, Any], rerun: set[str]) -> None:
    world = done()
    world.job = edited(world.job, edits)
    assert rerun_after(world) == rerun


@pytest.mark.parametrize(
    ("name", "rerun"),
    [
        pytest.param("student", ALL_BUT_CURATIONS, id="the-student"),
        pytest.param(
            "branches/math/sources/0",
            {"curate/math", "train/math", "train/science", MATH, SCIENCE, *MERGED},
            id="data-of-math",
        ),
        pytest.param("suites/house", EVALUATIONS | {"report"}, id="questions-of-a-suite"),
    ],
)
def test_an_input_with_other_content_behind_the_same_name(name: str, rerun: set[str]) -> None:
    world = done()
    world.pins[name] = "2" * 40
    assert rerun_after(world) == rerun


def test_a_chat_template_of_the_users_counts_by_its_content() -> None:
    world = World(make_job({"branches.1.training": {"chatTemplate": {"training": "r1.jinja"}}}))
    world.pins["branches/coding/chatTemplate"] = "sha256:1"
    world.run()
    world.job = edited(world.job, {"branches.1.training.chatTemplate.training": "copies/r1.jinja"})
    assert rerun_after(world) == set()
    world.pins["branches/coding/chatTemplate"] = "sha256:2"
    assert rerun_after(world) == {"train/coding", CODING, "merge/final", "evaluate/merged", "report"}


def test_a_curation_that_ends_in_equal_rows_retrains_nothing() -> None:
    world = World(make_job())
    world.same_rows = {"math"}
    world.run()
    world.job = edited(world.job, {"branches.0.data.limits": {"maxRows": 1_000_000}})
    assert rerun_after(world) == {"curate/math", "report"}


def test_an_edit_that_is_taken_back_runs_nothing() -> None:
    world = done()
    original = world.job
    world.job = edited(original, {"merge.seed": 7})
    rerun_after(world)
    world.job = original
    assert rerun_after(world) == set()


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="order-of-keys-does-not-matter"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, False, id="order-of-lists-does"),
        pytest.param({"a": 1e-05}, {"a": 0.00001}, True, id="digits-do-not-matter"),
        pytest.param({"a": "1"}, {"a": 1}, False, id="types-do"),
    ],
)
def test_canonical_form(left: dict[str, Any], right: dict[str, Any], equal: bool) -> None:
    assert (fingerprint(left) == fingerprint(right)) is equal


def test_the_fingerprint_of_known_ingredients_never_changes() -> None:
    """Outputs of earlier versions are found by it; sha256 of `{"a":1e-05,"b":["x"]}`."""
    expected = "dfa0bdc44cd4db3b57a440aa934c52066c5f5eaeab524e0014da6bafeaab4370"
    assert fingerprint({"b": ["x"], "a": 1e-5}) == expected

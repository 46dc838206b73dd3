"""The graph: which stages a spec asks for, what each needs and is told."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.evaluation import Engine
from branchmerge.api.stage import CurateTask, EvaluateTask, MergeTask, ReportTask, StageConfig, StageKind, TrainTask
from branchmerge.core.fingerprint import fingerprint
from branchmerge.core.graph import build_graph
from branchmerge.core.inputs import InputRef, inputs_of
from branchmerge.core.model import Graph, Stage
from builders import REMOVED, make_job, make_result
from world import World

COMMIT = "c" * 40
DIGEST = f"sha256:{'d' * 64}"


def finished(edits: dict[str, Any] | None = None, pins: dict[str, str] | None = None) -> World:
    """A world in which the job has run to its end, so that every stage is certain."""
    world = World(make_job(edits))
    world.pins = pins or {}
    world.run()
    return world


def task_of(stage: Stage, kind: type[Any]) -> Any:
    assert isinstance(stage.task, kind)
    return stage.task


def needs(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {stage.name: stage.needs for stage in graph.stages}


def test_every_stage_comes_after_those_that_it_needs() -> None:
    graph = World(make_job()).graph()
    seen: set[str] = set()
    for stage in graph.stages:
        assert seen.issuperset(stage.needs)
        seen.add(stage.name)


def test_the_whole_pipeline() -> None:
    everything = needs(World(make_job()).graph())
    report = everything.pop("report")
    assert report == tuple(everything)
    assert everything == {
        "curate/math": (),
        "curate/coding": (),
        "curate/science": (),
        "train/math": ("curate/math",),
        "train/coding": ("curate/coding",),
        "train/science": ("curate/science", "curate/math"),
        "merge/math-science": ("train/math", "train/science"),
        "merge/final": ("merge/math-science", "train/coding"),
        "evaluate/student": (),
        "evaluate/specialist/math": ("train/math",),
        "evaluate/specialist/coding": ("train/coding",),
        "evaluate/specialist/science": ("train/science",),
        "evaluate/merged": ("merge/final",),
    }


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param({"evaluation": REMOVED}, [], id="no-evaluation-no-evaluate-stages"),
        pytest.param(
            {"evaluation.models": ["merged", "student"]}, ["evaluate/student", "evaluate/merged"], id="two-groups"
        ),
        pytest.param(
            {"evaluation.models": ["specialists"], "evaluation.gates": REMOVED},
            ["evaluate/specialist/math", "evaluate/specialist/coding", "evaluate/specialist/science"],
            id="specialists-only",
        ),
    ],
)
def test_which_models_are_evaluated(edits: dict[str, Any], expected: list[str]) -> None:
    graph = World(make_job(edits)).graph()
    assert [stage.name for stage in graph.stages if stage.kind is StageKind.EVALUATE] == expected
    assert graph.stages[-1].name == "report"


def test_what_follows_a_curation_is_uncertain_until_its_rows_are_there() -> None:
    world = World(make_job())
    certain = {stage.name for stage in world.graph().stages if stage.fingerprint is not None}
    assert certain == {"curate/math", "curate/coding", "curate/science", "evaluate/student"}
    curation = world.graph()["curate/math"]
    world.settle()
    world.end(next(each for each in world.active() if each.key == curation.key))
    certain_now = {stage.name for stage in world.graph().stages if stage.fingerprint is not None}
    assert certain_now - certain == {"train/math", "evaluate/specialist/math"}


def test_a_fingerprint_is_the_hash_of_the_ingredients_that_the_trainer_gets() -> None:
    world = finished()
    for stage in world.graph().stages:
        assert stage.task is not None
        assert stage.ingredients is not None
        assert stage.fingerprint is not None
        assert stage.output == f"stages/{stage.name}/{stage.fingerprint[:16]}"
        config = StageConfig(
            job="tiny",
            stage=stage.name,
            fingerprint=stage.fingerprint,
            attempt=1,
            output=stage.output,
            ingredients=dict(stage.ingredients),
            task=stage.task,
        )
        read = StageConfig.model_validate_json(config.to_json())
        assert fingerprint(read.ingredients) == stage.fingerprint
        assert read.task == stage.task


def test_training_is_told_where_its_rows_are() -> None:
    graph = finished().graph()
    task = task_of(graph["train/science"], TrainTask)
    assert task.rows == graph["curate/science"].output
    assert [(each.branch, each.rows) for each in task.replay_sources] == [("math", graph["curate/math"].output)]
    assert (task.student.model, task.student.output) == ("models/student", None)


def test_training_gets_the_branch_settings_on_top_of_the_jobs() -> None:
    graph = finished({"branches.1.training.learningRate": 2e-5}).graph()
    task = task_of(graph["train/coding"], TrainTask)
    assert (task.training.learning_rate, task.training.global_batch_size) == (2e-5, 8)


def test_merge_steps_refer_to_specialists_and_earlier_steps() -> None:
    graph = finished().graph()
    task = task_of(graph["merge/final"], MergeTask)
    assert {name: (ref.name, ref.output) for name, ref in task.models.items()} == {
        "math-science": ("merge/math-science", graph["merge/math-science"].output),
        "coding": ("specialist/coding", graph["train/coding"].output),
    }


def test_a_recipe_may_use_the_student_and_name_a_step_merged() -> None:
    recipe = [
        {"name": "merged", "method": "ties", "base": "student", "models": ["math", "coding"]},
        {"name": "final", "method": "linear", "models": ["merged", "science"]},
    ]
    graph = finished({"merge.recipe": recipe}).graph()
    assert graph["merge/merged"].needs == ("train/math", "train/coding")
    assert task_of(graph["merge/merged"], MergeTask).models["student"].model == "models/student"
    assert task_of(graph["merge/final"], MergeTask).models["merged"].name == "merge/merged"
    assert task_of(graph["evaluate/merged"], EvaluateTask).model.output == graph["merge/final"].output


def test_the_report_is_told_every_output_and_the_spec_as_it_was_written() -> None:
    world = finished()
    graph = world.graph()
    task = task_of(graph["report"], ReportTask)
    assert task.curate.keys() == task.train.keys() == {"math", "coding", "science"}
    assert list(task.merge) == ["math-science", "final"]
    assert set(task.evaluate) == {
        "student",
        "specialist/math",
        "specialist/coding",
        "specialist/science",
        "merged",
    }
    assert task.merged.output == task.merge["final"] == graph["merge/final"].output
    assert task.spec["training"] == {"learningRate": 1e-5, "globalBatchSize": 8}


def test_tasks_name_the_commits_that_pins_say() -> None:
    pins = {"student": COMMIT, "branches/science/sources/0": "a" * 40}
    graph = finished(pins=pins).graph()
    data = task_of(graph["curate/science"], CurateTask).data
    assert data.sources[0].dataset is not None
    assert data.sources[0].dataset.revision == "a" * 40
    assert task_of(graph["evaluate/student"], EvaluateTask).model.revision == COMMIT


def test_a_content_digest_is_no_revision() -> None:
    graph = finished(pins={"student": DIGEST}).graph()
    assert task_of(graph["evaluate/student"], EvaluateTask).model.revision is None


def test_resources_of_each_kind_of_stage() -> None:
    graph = World(
        make_job(
            {
                "resources": {"pool": "h800", "gpusPerNode": 2},
                "branches.1.resources": {"nodes": 2},
                "merge.resources": {"pool": "cpu"},
                "evaluation.resources": {"pool": "a100", "gpusPerNode": 1},
            }
        )
    ).graph()
    where = {stage.name: (stage.resources.pool, stage.resources.gpus) for stage in graph.stages}
    assert where["train/math"] == ("h800", 2)
    assert where["train/coding"] == ("h800", 4)
    assert where["merge/final"] == ("cpu", 0)
    assert where["evaluate/merged"] == ("a100", 1)
    assert where["curate/math"] == where["report"] == (None, 0)


def test_what_is_not_supported_never_gets_here_silently() -> None:
    with pytest.raises(AssertionError, match=r"not supported yet: spec\.evaluation\.engine"):
        build_graph(make_job({"evaluation.engine": Engine.VLLM}), {}, {})


def test_inputs_are_named_by_where_they_are_in_the_spec() -> None:
    job = make_job(
        {
            "branches.0.training": {"chatTemplate": {"training": "templates/r1.jinja"}},
            "branches.1.training": {"chatTemplate": {"training": "r1-distill"}},
        }
    )
    assert inputs_of(job.spec) == (
        InputRef("student", "model", "models/student", "main"),
        InputRef("branches/math/sources/0", "file", "data/math.jsonl"),
        InputRef("branches/math/chatTemplate", "file", "templates/r1.jinja"),
        InputRef("branches/coding/sources/0", "file", "data/coding.jsonl"),
        InputRef("branches/science/sources/0", "dataset", "acme/science", "main"),
        InputRef("suites/house", "file", "eval/house.jsonl"),
        InputRef("suites/guide", "file", "eval/guide.jsonl"),
    )


def test_inputs_of_prompts_and_builtin_suites() -> None:
    """They are refused by this version, but what they read is known."""
    job = make_job(
        {
            "teacher": {"endpoint": "https://vllm/v1", "model": "r1"},
            "branches.0.data.sources": [{"prompts": {"dataset": {"repo": "acme/prompts", "revision": "v2"}}}],
            "evaluation.suites.0": {"name": "house", "builtin": "aime24"},
        }
    )
    assert InputRef("branches/math/sources/0", "dataset", "acme/prompts", "v2") in inputs_of(job.spec)
    assert "suites/house" not in {ref.name for ref in inputs_of(job.spec)}


def test_where_inputs_are_not_known_a_stage_resolves_them_first() -> None:
    job = make_job(uid="job-1")
    graph = build_graph(job, None, {})
    assert [stage.name for stage in graph.stages if stage.fingerprint is not None] == ["inputs"]
    assert {stage.name for stage in graph.stages if stage.needs == ("inputs",)} == {
        "curate/math", "curate/coding", "curate/science", "evaluate/student",
    }  # fmt: skip
    assert graph.pins == {}


def test_what_a_stage_resolves_counts_as_what_the_executor_knows() -> None:
    job = make_job({"branches.2.data.sources": [{"path": "s3://bucket/rows.jsonl"}]}, uid="job-1")
    stage = build_graph(job, None, {})["inputs"]
    assert stage.key is not None
    refs = inputs_of(job.spec)
    resolved = [None if "://" in ref.location else f"{number:064x}" for number, ref in enumerate(refs)]
    result = make_result(*stage.key).model_copy(update={"pins": resolved})

    graph = build_graph(job, None, {stage.key: result})

    pins = {ref.name: f"sha256:{pin}" for ref, pin in zip(refs, resolved, strict=True) if pin}
    assert graph.pins == pins
    known = build_graph(job, pins, {})
    assert {each.name: each.fingerprint for each in known.stages} == {
        each.name: each.fingerprint for each in graph.stages if each.name != "inputs"
    }


def test_another_job_of_the_same_name_resolves_its_inputs_anew() -> None:
    first, second = (build_graph(make_job(uid=uid), None, {})["inputs"].fingerprint for uid in ("job-1", "job-2"))
    assert first != second

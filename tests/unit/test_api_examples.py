"""The files that show what a job looks like are valid, and say what they are meant to say."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from branchmerge.api.resource import DistillationJob
from branchmerge.api.support import unsupported

HERE = Path(__file__).parent
PAPER = HERE.parents[1] / "examples/tinyr1-32b/distillation.yaml"
DESIGN = HERE / "design_example.yaml"


def read(path: Path) -> DistillationJob:
    return DistillationJob.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("branch", "epochs", "schedule", "batch", "steps_of_accumulation"),
    [
        ("math", 5, "constant_with_warmup", 96, 3),
        ("coding", 15, "constant_with_warmup", 96, 3),
        ("science", 5, "cosine", 32, 1),
    ],
)
def test_the_papers_branches(branch: str, epochs: int, schedule: str, batch: int, steps_of_accumulation: int) -> None:
    spec = read(PAPER).spec
    found = next(one for one in spec.branches if one.name == branch)
    training, resources = spec.training_of(found), spec.resources_of(found)
    assert (training.resolved_epochs, training.schedule.type, training.global_batch_size) == (epochs, schedule, batch)
    assert (training.learning_rate, training.schedule.warmup_ratio, training.sequence_length) == (1e-5, 0.1, 16384)
    assert (training.optimizer.betas, training.optimizer.weight_decay) == ([0.9, 0.95], 0.01)
    assert (training.parallelism.zero_stage, training.precision.compute) == (3, "bfloat16")
    assert batch == resources.nodes * resources.ranks_per_node * training.micro_batch_size * steps_of_accumulation


def test_the_papers_merge_is_math_onto_science_and_that_onto_coding() -> None:
    merge = read(PAPER).spec.merge
    assert merge.recipe is not None
    assert [(step.method, step.models, step.base) for step in merge.recipe] == [
        ("arcee_fusion", ["math"], "science"),
        ("arcee_fusion", ["math-science"], "coding"),
    ]
    assert (merge.dtype, merge.out_dtype) == ("bfloat16", "bfloat16")


def test_the_papers_suites_are_sampled_as_often_as_there() -> None:
    evaluation = read(PAPER).spec.evaluation
    assert evaluation is not None
    assert {suite.builtin: suite.samples for suite in evaluation.suites} == {
        "aime24": 16,
        "gpqa_diamond": 4,
        "livecodebench": 1,
    }


def test_what_this_version_cannot_do_is_named() -> None:
    assert unsupported(read(DESIGN).spec) == [
        "not supported yet: spec.evaluation.engine: vllm (use transformers)",
        "not supported yet: spec.evaluation.suites[0].builtin (use path)",
        "not supported yet: spec.evaluation.suites[1].builtin (use path)",
    ]

"""Words for what made a stage run again."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.core.explain import changes
from builders import edited, make_job
from world import World


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        pytest.param({"a": 1}, {"a": 1}, (), id="nothing-changed"),
        pytest.param(
            {"training": {"learningRate": 1e-5}},
            {"training": {"learningRate": 2e-5}},
            ("training.learningRate: 1e-05 -> 2e-05",),
            id="a-leaf",
        ),
        pytest.param(
            {"sources": [{"content": "sha256:" + "a" * 64}]},
            {"sources": [{"content": "sha256:" + "b" * 64}]},
            ("sources[0].content: aaaaaaaa -> bbbbbbbb",),
            id="a-digest-is-cut",
        ),
        pytest.param(
            {"student": {"content": "c" * 40}},
            {"student": {"location": "models/s"}},
            ("student.content: cccccccc -> unset", "student.location: unset -> models/s"),
            id="a-pin-that-is-gone",
        ),
        pytest.param(
            {"inputs": {"train/math": "a" * 64}},
            {"inputs": {"train/math": "b" * 64}},
            ("train/math: aaaaaaaa -> bbbbbbbb",),
            id="what-another-stage-made",
        ),
        pytest.param(
            {"sources": [{"location": "a"}]},
            {"sources": [{"location": "a"}, {"location": "b"}]},
            ("sources[1].location: unset -> b",),
            id="a-source-more",
        ),
        pytest.param({"betas": [0.9, 0.95]}, {"betas": [0.9, 0.99]}, ("betas: [0.9, 0.95] -> [0.9, 0.99]",), id="list"),
        pytest.param({"normalize": True}, {"normalize": False}, ("normalize: true -> false",), id="as-in-yaml"),
        pytest.param({"version": 1}, {"version": 2}, ("version: 1 -> 2",), id="the-stage-works-otherwise-now"),
    ],
)
def test_changes(old: dict[str, Any], new: dict[str, Any], lines: tuple[str, ...]) -> None:
    assert changes(old, new) == lines


@pytest.mark.parametrize(
    ("edits", "stage", "lines"),
    [
        pytest.param(
            {"branches.1.training": {"learningRate": 2e-5}},
            "train/coding",
            ["training.learningRate: 1e-05 -> 2e-05"],
            id="learning-rate",
        ),
        pytest.param(
            {"training.maxSteps": 10},
            "train/math",
            ["training.epochs: 3.0 -> unset", "training.maxSteps: unset -> 10"],
            id="steps-instead-of-the-default-epochs",
        ),
        pytest.param(
            {"merge.recipe.1": {"name": "final", "method": "linear", "models": ["math-science", "coding"]}},
            "merge/final",
            [
                "step.base: coding -> unset",
                "step.method: arcee_fusion -> linear",
                'step.models: ["math-science"] -> ["math-science", "coding"]',
            ],
            id="recipe",
        ),
        pytest.param(
            {"evaluation.suites.1.generation": {"maxTokens": 64}},
            "evaluate/student",
            ["suites.guide.generation.maxTokens: 1024 -> 64"],
            id="suite",
        ),
        pytest.param({"evaluation.suites.1.role": "Test"}, "report", ["roles.guide: Validation -> Test"], id="role"),
        pytest.param(
            {"branches.0.data.limits": {"maxRows": 9}}, "curate/math", ["limits.maxRows: unset -> 9"], id="cap"
        ),
    ],
)
def test_an_edit_is_explained_in_the_words_of_the_spec(edits: dict[str, Any], stage: str, lines: list[str]) -> None:
    world = World(make_job())
    world.run()
    before = world.graph()[stage].ingredients
    world.job = edited(world.job, edits)
    world.run()
    after = world.graph()[stage].ingredients
    assert before is not None
    assert after is not None
    assert list(changes(before, after)) == lines

"""What this version does not carry out is refused by name, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.resource import DistillationJob
from branchmerge.api.support import unsupported
from builders import REMOVED, make_document
from invalid_specs.merges import candidates, step

DATA = "spec.branches.0.data"
LINEAR = [step("linear")]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param({}, [], id="all of it is carried out"),
        pytest.param(
            {"spec.teacher": {"endpoint": "http://vllm/v1", "model": "r1"}},
            ["not supported yet: spec.teacher"],
            id="a teacher",
        ),
        pytest.param({f"{DATA}.verify": {"method": "math"}}, ["not supported yet: spec.branches[0].data.verify"]),
        pytest.param({f"{DATA}.select": {}}, ["not supported yet: spec.branches[0].data.select"]),
        pytest.param({f"{DATA}.deduplicate": {}}, ["not supported yet: spec.branches[0].data.deduplicate"]),
        pytest.param({f"{DATA}.decontaminate": {}}, ["not supported yet: spec.branches[0].data.decontaminate"]),
        pytest.param({f"{DATA}.require": {}}, ["not supported yet: spec.branches[0].data.require"]),
        pytest.param({f"{DATA}.shuffle": {}}, ["not supported yet: spec.branches[0].data.shuffle"]),
        pytest.param(
            {f"{DATA}.sources.0": {"path": "a.jsonl", "maxRows": 5, "weight": 1.0}, f"{DATA}.limits": {"maxRows": 5}},
            [
                "not supported yet: spec.branches[0].data.sources[0].maxRows",
                "not supported yet: spec.branches[0].data.sources[0].weight",
            ],
            id="caps and weights of sources",
        ),
        pytest.param(
            {f"{DATA}.limits": {"minTokens": 1, "maxTokens": 9, "maxRows": 5, "maxCharacters": 9}},
            [
                "not supported yet: spec.branches[0].data.limits.minTokens",
                "not supported yet: spec.branches[0].data.limits.maxTokens",
            ],
            id="limits in tokens",
        ),
        pytest.param(
            {
                "spec.branches.0.teacher": {"endpoint": "http://vllm/v1", "model": "r1"},
                f"{DATA}.sources.0": {"prompts": {"path": "p.jsonl"}},
            },
            [
                "not supported yet: spec.branches[0].teacher",
                "not supported yet: spec.branches[0].data.sources[0].prompts (use dataset or path with complete rows)",
            ],
            id="a branch's own teacher",
        ),
        pytest.param(
            {"spec.training.overlong": "Split"},
            [
                f"not supported yet: spec.branches[{index}].training.overlong: Split (use Drop or Truncate)"
                for index in range(3)
            ],
            id="splitting, asked for by the defaults of every branch",
        ),
        pytest.param(
            {"spec.merge": {"candidates": candidates(LINEAR, LINEAR)}},
            ["not supported yet: spec.merge.candidates (use merge.recipe)"],
            id="candidates",
        ),
        pytest.param(
            {"spec.evaluation.engine": "vllm"},
            ["not supported yet: spec.evaluation.engine: vllm (use transformers)"],
            id="another engine",
        ),
        pytest.param({"spec.evaluation.suites.0.method": "code"}, [], id="code that is run"),
        pytest.param({"spec.evaluation": REMOVED}, [], id="no evaluation"),
    ],
)
def test_unsupported(edits: dict[str, Any], expected: list[str]) -> None:
    assert unsupported(DistillationJob.model_validate(make_document(edits)).spec) == expected

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
        pytest.param(
            {"spec.evaluation.suites.0.method": "code"},
            ["not supported yet: spec.evaluation.suites[0].method: code (use exact, choice or math)"],
            id="code that is run",
        ),
        pytest.param({"spec.evaluation": REMOVED}, [], id="no evaluation"),
    ],
)
def test_unsupported(edits: dict[str, Any], expected: list[str]) -> None:
    assert unsupported(DistillationJob.model_validate(make_document(edits)).spec) == expected

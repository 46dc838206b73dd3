"""What this version does not carry out is refused by name, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.resource import DistillationJob
from branchmerge.api.support import unsupported
from builders import REMOVED, make_document
from curations import CURATION
from invalid_specs.merges import candidates, step

LINEAR = [step("linear")]
CURATION_EDITS = {f"spec.{path}": value for path, value in CURATION.items()}


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param({}, [], id="all of it is carried out"),
        pytest.param(CURATION_EDITS, [], id="curation with all that it can have"),
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

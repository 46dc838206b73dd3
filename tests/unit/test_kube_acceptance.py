"""What an operator refuses of a job that the API server has taken."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.kube.acceptance import problems
from branchmerge.kube.settings import OperatorSettings
from builders import make_job

SETTINGS = OperatorSettings.model_validate({"trainerImage": "trainer:1", "pools": {"a100": {}, "cpu": {}}})
CLAIM = {"workspace": {"persistentVolumeClaim": {"claimName": "models"}}}
UNKNOWN = "no pool 'h100': use one of those that the administrator has set up (a100, cpu)"


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        pytest.param(CLAIM, [], id="no pool"),
        pytest.param({}, ["spec.workspace.persistentVolumeClaim: required on a cluster"], id="no volume"),
        pytest.param(
            CLAIM
            | {
                "resources": {"pool": "a100"},
                "branches.0.data.resources": {"pool": "cpu"},
                "branches.0.resources": {"pool": "cpu"},
                "merge.resources": {"pool": "cpu"},
                "evaluation.resources": {"pool": "a100"},
            },
            [],
            id="pools that there are",
        ),
        pytest.param(
            CLAIM | {"branches.1.data.resources": {"pool": "h100"}},
            [f"spec.branches[1].data.resources.pool: {UNKNOWN}"],
            id="of a curation",
        ),
        pytest.param(
            CLAIM | {"branches.1.resources": {"pool": "h100"}},
            [f"spec.branches[1].resources.pool: {UNKNOWN}"],
            id="of a branch",
        ),
        pytest.param(
            CLAIM | {"merge.resources": {"pool": "h100"}, "evaluation.resources": {"pool": "h100"}},
            [f"spec.merge.resources.pool: {UNKNOWN}", f"spec.evaluation.resources.pool: {UNKNOWN}"],
            id="of merges and evaluations",
        ),
    ],
)
def test_problems(edits: dict[str, Any], told: list[str]) -> None:
    found = problems(make_job(edits).spec, SETTINGS)
    assert len(found) == len(told), found
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True)), found

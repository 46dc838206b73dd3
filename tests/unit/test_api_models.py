"""What a spec means: defaults, overrides, nulls, quantities."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.compute import Resources
from branchmerge.api.resource import DistillationJob
from branchmerge.api.training import Training
from builders import make_document
from valid_specs import VALID


def validated(edits: dict[str, Any]) -> DistillationJob:
    return DistillationJob.model_validate(make_document(edits))


@pytest.mark.parametrize(
    ("defaults", "branch", "expected"),
    [
        pytest.param({"seed": 1}, None, {"seed": 1}, id="no override"),
        pytest.param({"seed": 1}, {}, {"seed": 1}, id="an empty override"),
        pytest.param({"seed": 1}, {"learningRate": 1e-4}, {"seed": 1, "learningRate": 1e-4}, id="another leaf"),
        pytest.param({"seed": 1}, {"seed": 42}, {"seed": 42}, id="back to the API's default"),
        pytest.param(
            {"schedule": {"type": "constant_with_warmup", "warmupRatio": 0.1}},
            {"schedule": {"type": "cosine"}},
            {"schedule": {"type": "cosine", "warmupRatio": 0.1}},
            id="maps merge deeply",
        ),
        pytest.param(
            {"optimizer": {"betas": [0.8, 0.9], "weightDecay": 0.1}},
            {"optimizer": {"betas": [0.9, 0.999]}},
            {"optimizer": {"betas": [0.9, 0.999], "weightDecay": 0.1}},
            id="lists are replaced",
        ),
        pytest.param({"epochs": 5}, {"maxSteps": 100}, {"maxSteps": 100}, id="steps instead of epochs"),
        pytest.param({"maxSteps": 100}, {"epochs": 5}, {"epochs": 5}, id="epochs instead of steps"),
        pytest.param({"epochs": 5}, {"seed": 1}, {"epochs": 5, "seed": 1}, id="the length stays"),
        pytest.param({"epochs": 5}, {"epochs": None}, {"epochs": 5}, id="null is no override"),
    ],
)
def test_a_branch_overrides_single_leaves(
    defaults: dict[str, Any], branch: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    override = None if branch is None else Training.model_validate(branch)
    found = Training.model_validate(defaults).overridden_by(override)
    assert found == Training.model_validate(expected)


def test_what_a_branch_overrides_is_not_changed_for_the_others() -> None:
    defaults = Training.model_validate({"schedule": {"warmupRatio": 0.1}})
    defaults.overridden_by(Training.model_validate({"schedule": {"warmupRatio": 0.5}}))
    assert defaults.schedule.warmup_ratio == 0.1


@pytest.mark.parametrize(
    ("written", "epochs"),
    [({}, 3.0), ({"epochs": 5}, 5.0), ({"maxSteps": 10}, None)],
    ids=["three by default", "as written", "steps rule"],
)
def test_epochs(written: dict[str, Any], epochs: float | None) -> None:
    assert Training.model_validate(written).resolved_epochs == epochs


def test_a_branch_overrides_single_resources() -> None:
    found = Resources(pool="h800", nodes=4, gpus_per_node=8).overridden_by(Resources(nodes=1))
    assert (found.pool, found.nodes, found.gpus, found.ranks_per_node) == ("h800", 1, 8, 8)


@pytest.mark.parametrize(
    ("resources", "ranks"),
    [({}, 1), ({"gpusPerNode": 8}, 8), ({"processesPerNode": 2}, 2), ({"gpusPerNode": 8, "processesPerNode": 4}, 4)],
    ids=["one without accelerators", "one an accelerator", "as written", "fewer than accelerators"],
)
def test_ranks_of_a_node(resources: dict[str, Any], ranks: int) -> None:
    assert Resources.model_validate(resources).ranks_per_node == ranks


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"spec.training.learningRate": None}, id="a scalar"),
        pytest.param({"spec.branches.0.training": None, "spec.branches.0.resources": {"pool": None}}, id="overrides"),
        pytest.param({"spec.retry": None}, id="a map with defaults"),
        pytest.param({"spec.evaluation.suites.0.generation": {"topP": None}}, id="a leaf of a list's entry"),
        pytest.param({"spec.merge.recipe.0.parameters": {"t": None}}, id="a merge parameter"),
    ],
)
def test_null_is_unset_as_for_an_api_server(edits: dict[str, Any]) -> None:
    validated(edits)


def test_a_null_in_a_branch_inherits() -> None:
    spec = validated({"spec.resources": {"pool": "a100"}, "spec.branches.0.resources": {"pool": None}}).spec
    assert spec.resources_of(spec.branches[0]).pool == "a100"


@pytest.mark.parametrize(("written", "quantity"), [(4, "4"), ("500m", "500m"), ("16Gi", "16Gi"), ("1.5", "1.5")])
def test_a_quantity_needs_quotes_only_with_a_unit(written: Any, quantity: str) -> None:
    assert Resources.model_validate({"cpu": written}).cpu == quantity


def test_a_specs_json_is_read_back_as_the_same_spec() -> None:
    job = validated({"spec.merge.recipe.0.parameters": {}, "spec.training.epochs": 2})
    written = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written["spec"]["branches"][2]["replay"] == {"fraction": 0.1, "from": ["math"]}
    assert DistillationJob.model_validate(written) == job
    assert DistillationJob.model_validate_json(job.model_dump_json()) == job


def test_metadata_that_does_not_matter_here_is_kept() -> None:
    job = validated({"metadata.annotations": {"a": "b"}, "metadata.creationTimestamp": None})
    assert job.metadata.model_dump()["annotations"] == {"a": "b"}


@pytest.mark.parametrize("edits", VALID.values(), ids=VALID)
def test_what_is_unusual_and_right_is_accepted(edits: dict[str, Any]) -> None:
    validated(edits)

"""A real API server refuses what `branchmerge validate` refuses, accepts what it accepts, and says why."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from admission import Admission
from branchmerge.api.errors import explain
from branchmerge.api.resource import DistillationJob
from builders import make_document
from invalid_specs.entry import InvalidSpec
from invalid_specs.table import INVALID
from localcluster.controlplane import ControlPlane
from localcluster.kubectl import Kubectl, has_condition
from localcluster.shell import CommandError
from valid_specs import VALID

ROOT = Path(__file__).parents[2]
CRD = "distillationjobs.branchmerge.dev"
EXAMPLES = (ROOT / "examples/tinyr1-32b/distillation.yaml", ROOT / "tests/unit/design_example.yaml")
COMPARED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def kubectl(api_only_cluster: ControlPlane) -> Kubectl:
    """kubectl where the definition is known."""
    kubectl = api_only_cluster.kubectl
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl.wait("crd", CRD, lambda crd: has_condition(crd, "Established"))
    return kubectl


@pytest.fixture(scope="module")
def admission(kubectl: Kubectl) -> Admission:
    return Admission(kubectl.kubeconfig)


def told_locally(document: dict[str, Any]) -> list[str]:
    try:
        DistillationJob.model_validate(copy.deepcopy(document))
    except ValidationError as error:
        return explain(error, DistillationJob)
    return []


@pytest.mark.parametrize("invalid", [one for one in INVALID if one.refusal is not None], ids=lambda one: one.id)
def test_a_mistake_is_refused_with_its_reason(admission: Admission, invalid: InvalidSpec) -> None:
    refusal = admission.refusal(make_document(invalid.edits))
    assert refusal is not None
    assert invalid.refusal is not None
    assert invalid.refusal in refusal


@pytest.mark.parametrize("edits", VALID.values(), ids=VALID)
def test_what_is_unusual_and_right_is_accepted(admission: Admission, edits: dict[str, Any]) -> None:
    assert admission.refusal(make_document(edits)) is None


def assert_same_verdict(admission: Admission, document: dict[str, Any]) -> None:
    refusal, told = admission.refusal(document), told_locally(document)
    assert (refusal is None) == (told == []), f"API server: {refusal}; validate: {told}"


EDITS = [*(one.edits for one in INVALID if one.refusal is not None), *VALID.values()]


@COMPARED
@given(edits=st.lists(st.sampled_from(EDITS), min_size=2, max_size=3))
def test_mixtures_of_right_and_wrong(admission: Admission, edits: list[dict[str, Any]]) -> None:
    try:
        document = make_document({path: value for one in edits for path, value in one.items()})
    except (KeyError, IndexError, TypeError):
        return  # one edit took away what another one changes
    assert_same_verdict(admission, document)


NAMES = st.sampled_from(["student", "math", "science", "first", "second", "third", "nothing"])
STEP = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["first", "second", "third", "math"]),
        "method": st.sampled_from(["linear", "ties", "arcee_fusion"]),
        "models": st.lists(NAMES, min_size=1, max_size=3),
    },
    optional={"base": NAMES},
)
RECIPE = st.lists(STEP, min_size=1, max_size=3)


@COMPARED
@given(recipes=st.lists(RECIPE, min_size=1, max_size=2))
def test_recipes_and_candidates(admission: Admission, recipes: list[list[dict[str, Any]]]) -> None:
    several = [{"name": f"candidate-{number}", "recipe": recipe} for number, recipe in enumerate(recipes)]
    merge = {"recipe": recipes[0]} if len(recipes) == 1 else {"candidates": several}
    assert_same_verdict(admission, make_document({"spec.merge": merge}))


COUNT = st.integers(1, 4)
RESOURCES = st.fixed_dictionaries(
    {}, optional={"nodes": COUNT, "gpusPerNode": st.integers(0, 4), "processesPerNode": COUNT}
)
BATCH = st.fixed_dictionaries(
    {}, optional={"globalBatchSize": st.sampled_from([1, 6, 12, 24, 96]), "microBatchSize": COUNT}
)


@COMPARED
@given(training=BATCH, resources=RESOURCES, own_training=BATCH, own_resources=RESOURCES)
def test_batches_and_ranks(
    admission: Admission,
    training: dict[str, int],
    resources: dict[str, int],
    own_training: dict[str, int],
    own_resources: dict[str, int],
) -> None:
    document = make_document(
        {
            "spec.training": training,
            "spec.resources": resources,
            "spec.branches.1.training": own_training,
            "spec.branches.1.resources": own_resources,
        }
    )
    assert_same_verdict(admission, document)


@pytest.fixture
def jobs(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl where no job is left behind."""
    yield kubectl
    kubectl("delete", "distillationjobs", "--all")


@pytest.mark.parametrize("server_side", ["true", "false"], ids=["server-side", "client-side"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_file_is_kept_as_it_is_written(jobs: Kubectl, path: Path, server_side: str) -> None:
    how = ("--validate=strict", f"--server-side={server_side}", "-f", str(path))
    jobs("apply", *how)
    jobs("diff", *how[1:])
    assert [job["spec"] for job in jobs.find("distillationjobs")] == [yaml.safe_load(path.read_text())["spec"]]


def accept(jobs: Kubectl, name: str) -> None:
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Valid",
        "message": "",
        "lastTransitionTime": "2025-03-01T12:00:00Z",
    }
    status = {"status": {"observedGeneration": 1, "phase": "Pending", "conditions": [condition]}}
    jobs("patch", "dj", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def test_the_student_changes_until_the_job_is_accepted(jobs: Kubectl) -> None:
    jobs.apply(make_document())
    jobs.apply(make_document({"spec.student.model": "models/other"}))
    accept(jobs, "tiny")
    with pytest.raises(CommandError, match=r"spec\.student: .*immutable once the job is accepted: create a new job"):
        jobs.apply(make_document())
    jobs.apply(make_document({"spec.student": {"model": "models/other", "revision": "main"}}))
    jobs.apply(make_document({"spec.student.model": "models/other", "spec.training.epochs": 7}))


def test_status_is_not_written_by_users_nor_spec_by_status(jobs: Kubectl) -> None:
    jobs.apply(make_document({"status": {"phase": "Succeeded"}}))
    accept(jobs, "tiny")
    jobs("patch", "dj", "tiny", "--subresource=status", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    found = jobs.get("dj", "tiny")
    assert (found["status"]["phase"], found["metadata"]["generation"]) == ("Pending", 1)
    assert "suspend" not in found["spec"]


def test_a_generated_name_is_checked_like_any_other(jobs: Kubectl) -> None:
    document = make_document({"metadata": {"generateName": "tiny-"}})
    assert "created" in jobs("create", "-f", "-", stdin=json.dumps(document))
    with pytest.raises(CommandError, match="may not be more than 40 bytes"):
        jobs("create", "-f", "-", stdin=json.dumps(document | {"metadata": {"generateName": "t" * 40}}))


def test_what_people_see(jobs: Kubectl) -> None:
    jobs.apply(make_document())
    accept(jobs, "tiny")
    assert jobs("get", "distill").split()[:6] == ["NAME", "PHASE", "PROGRESS", "BRANCHES", "SCORE", "GPU-HOURS"]
    assert "tiny" in jobs("get", "dj", "--field-selector", "status.phase=Pending")
    assert "tiny" not in jobs("get", "dj", "--field-selector", "status.phase=Training")
    assert "in seconds" in jobs("explain", "dj.spec.deadlineSeconds")
    assert "tokens" in jobs("explain", "dj.spec.branches.training.sequenceLength")

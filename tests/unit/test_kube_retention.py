"""When a job goes, and in which order everything else goes before it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from branchmerge.api.stage import Outcome
from branchmerge.api.status import Status
from branchmerge.kube.cleanup import cleanup_manifest, cleanup_name
from branchmerge.kube.retention import (
    FINALIZER,
    CleanUp,
    Release,
    RemoveChildren,
    Step,
    WaitUntil,
    expires_at,
    finalizers_of,
    next_step,
)
from branchmerge.kube.settings import OperatorSettings
from builders import EPOCH, at, make_job
from valid_specs import POD_TEMPLATE

NOW = at(600)
Raw = dict[str, Any]


def stamp(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("ttl", "completed", "expected"),
    [
        pytest.param(None, 100, None, id="kept"),
        pytest.param(60, None, None, id="not ended, or revived by an edit"),
        pytest.param(60, 100, 160, id="so long after its end"),
        pytest.param(0, 100, 100, id="at once"),
    ],
)
def test_when_a_job_expires(ttl: int | None, completed: float | None, expected: float | None) -> None:
    spec = make_job({} if ttl is None else {"ttlSecondsAfterFinished": ttl}).spec
    status = Status(completion_time=None if completed is None else at(completed))
    assert expires_at(spec, status) == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        pytest.param("Retain", [], [], id="none is needed"),
        pytest.param("Delete", [], [FINALIZER], id="put on"),
        pytest.param("Delete", ["x/y", FINALIZER], ["x/y", FINALIZER], id="there already"),
        pytest.param("Delete", [FINALIZER, "x/y"], ["x/y", FINALIZER], id="after those of others"),
        pytest.param("Retain", ["x/y", FINALIZER], ["x/y"], id="taken off again"),
    ],
)
def test_finalizers(policy: str, before: list[str], after: list[str]) -> None:
    spec = make_job({"deletionPolicy": policy}).spec
    assert finalizers_of({"finalizers": before} if before else {}, spec) == after


def child(name: str, **metadata: Any) -> Raw:
    return {"metadata": {"name": name, **metadata}}


def pod(phase: str, deleted_at: float | None = None) -> Raw:
    metadata = {} if deleted_at is None else {"deletionTimestamp": stamp(deleted_at)}
    return {"metadata": metadata, "status": {"phase": phase}}


def cleanup(condition: str | None = None, created_at: float = 590, message: str = "") -> Raw:
    conditions = [{"type": condition, "status": "True", "message": message}] if condition else None
    return {
        "metadata": {"name": "tiny-cleanup", "creationTimestamp": stamp(created_at)},
        "status": {"conditions": conditions},
    }


FAILED_POD: Raw = {
    "metadata": {},
    "status": {
        "phase": "Failed",
        "containerStatuses": [
            {
                "state": {
                    "terminated": {
                        "exitCode": 64,
                        "message": Outcome(exit_code=64, reason="WorkspaceUnusable", message="read-only").to_json(),
                    }
                }
            }
        ],
    },
}
GOING = child("a", deletionTimestamp=stamp(500))


@pytest.mark.parametrize(
    ("children", "pods", "expected"),
    [
        pytest.param([], [], CleanUp(), id="nothing is there"),
        pytest.param([child("a"), GOING], [pod("Running")], RemoveChildren((child("a"),)), id="children go first"),
        pytest.param([GOING], [pod("Running")], WaitUntil(at(630)), id="a pod is about to be told"),
        pytest.param([], [pod("Running", 610), pod("Pending", 605)], WaitUntil(at(615)), id="pods are ending"),
        pytest.param([], [pod("Succeeded"), pod("Failed", 700)], CleanUp(), id="pods have ended"),
        pytest.param([], [pod("Running", 580)], CleanUp(), id="a lost node is not waited for"),
    ],
)
def test_before_the_clean_up(children: list[Raw], pods: list[Raw], expected: Step) -> None:
    assert next_step(children, pods, None, [], NOW) == expected


@pytest.mark.parametrize(
    ("job", "pods", "reason", "note"),
    [
        pytest.param(cleanup("Complete"), [], "ArtifactsDeleted", "is removed from its workspace", id="done"),
        pytest.param(cleanup("Failed", message="backoff"), [], "ArtifactsKept", "failed: backoff", id="failed"),
        pytest.param(
            cleanup("Failed"), [FAILED_POD], "ArtifactsKept", "workspace: read-only", id="failed and said why"
        ),
        pytest.param(cleanup(created_at=-400), [], "ArtifactsKept", "not ended in 900 s", id="never begun"),
    ],
)
def test_after_the_clean_up(job: Raw, pods: list[Raw], reason: str, note: str) -> None:
    step = next_step([], [], job, pods, NOW)
    assert isinstance(step, Release)
    assert step.event is not None
    assert step.event.reason == reason
    assert note in step.event.note


def test_a_clean_up_that_works_is_waited_for() -> None:
    assert next_step([], [], cleanup(), [], NOW) == WaitUntil(at(590 + 900 + 60))


def test_the_clean_up_needs_nothing_but_the_volume() -> None:
    edits = {
        "workspace": {"persistentVolumeClaim": {"claimName": "models"}, "path": "team/tiny"},
        "podTemplate": POD_TEMPLATE,
    }
    settings = OperatorSettings(trainer_image="trainer:1", progress_url="http://operator/progress")
    job = make_job(edits, namespace="team", uid="0b0e5c1e-0000-4000-8000-000000000000")
    spec = cleanup_manifest(job, settings)["spec"]["template"]["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["workspace", "tmp", "shm"]
    environment = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert environment["BRANCHMERGE_JOB"] == "tiny"
    assert environment["BRANCHMERGE_WORKSPACE"] == "/workspace/team/tiny"
    assert environment["HF_HOME"] == "/tmp/huggingface", "not on the volume of the spec, which may be gone"
    assert not environment.keys() & {"NCCL_IB_HCA", "HF_TOKEN", "HTTPS_PROXY", "KUBEFLOW_TRAINER_SERVER_URL"}
    assert [secret["name"] for secret in spec["imagePullSecrets"]] == ["team-registry"]


def test_the_name_of_a_clean_up_fits_and_is_the_jobs_own() -> None:
    names = [cleanup_name("a" * 40, uid) for uid in ("0b0e5c1e-0000", "1b0e5c1e-0000")]
    assert len(set(names)) == 2
    assert all(len(name) <= 50 for name in names)

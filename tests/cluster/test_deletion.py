"""The end of a job on a real API server, with its garbage collector and Job controller; pods end as a test says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from branchmerge.api.resource import Metadata, Spec
from branchmerge.api.status import Status
from branchmerge.kube.cleanup import cleanup_name
from branchmerge.kube.cluster import Cluster, ConflictError
from branchmerge.kube.deletion import Deletion
from branchmerge.kube.events import Event
from branchmerge.kube.retention import FINALIZER
from branchmerge.kube.settings import OperatorSettings
from builders import make_document
from localcluster.controlplane import ControlPlane
from localcluster.kubectl import Kubectl, has_condition
from localcluster.waiting import until

ROOT = Path(__file__).parents[2]
SETTINGS = OperatorSettings(trainer_image="trainer:1")
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PYTORCH_JOBS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "pytorchjobs.kubeflow.org"},
    "spec": {
        "group": "kubeflow.org",
        "scope": "Namespaced",
        "names": {"kind": "PyTorchJob", "plural": "pytorchjobs"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}],
    },
}
"""A kind whose objects nobody acts on: there are no nodes for the training operator."""


@pytest.fixture(scope="module")
def kubectl(api_only_cluster: ControlPlane) -> Kubectl:
    """kubectl where the definitions are known."""
    kubectl = api_only_cluster.kubectl
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl.apply(PYTORCH_JOBS)
    for name in ("distillationjobs.branchmerge.dev", "pytorchjobs.kubeflow.org"):
        kubectl.wait("crd", name, lambda crd: has_condition(crd, "Established"))
    return kubectl


class Place:
    """A namespace with one job, and the part of the operator that ends it."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.namespace = f"deletion-{uuid4().hex[:8]}"
        self.events: list[str] = []
        kubectl("create", "namespace", self.namespace)
        kubectl.wait("serviceaccount", "default", lambda _: True, namespace=self.namespace)

    def job(self, **edits: Any) -> dict[str, Any]:
        """A job of that spec, as the API server keeps it; every path of `edits` is of the spec."""
        volume = {"persistentVolumeClaim": {"claimName": "models"}}
        spec = {f"spec.{path}": value for path, value in {"workspace": volume, **edits}.items()}
        document = make_document(spec)
        document["metadata"]["namespace"] = self.namespace
        self.kubectl.apply(document)
        return self.read()

    def read(self) -> dict[str, Any]:
        return self.kubectl.get("distillationjobs", "tiny", self.namespace)

    def is_there(self) -> bool:
        return self.kubectl.exists("distillationjobs", "tiny", self.namespace)

    def delete(self) -> None:
        self.kubectl("delete", "distillationjob", "tiny", "-n", self.namespace, "--wait=false")

    def child(self, api_version: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        """A child of the job."""
        labels = {"branchmerge.dev/job": "tiny"}
        owner = {"apiVersion": "branchmerge.dev/v1alpha1", "kind": "DistillationJob", "name": "tiny"}
        owner["uid"] = self.read()["metadata"]["uid"]
        metadata = {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [owner]}
        self.kubectl.apply({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})

    def pods_of(self, name: str) -> list[dict[str, Any]]:
        return self.kubectl.find("pods", self.namespace, f"job-name={name}")

    def end_pod(self, name: str, phase: str) -> None:
        """Have the pod of a Job end, as its kubelet would say."""
        pod = until(f"a pod of {name}", lambda: next(iter(self.pods_of(name)), None), timeout=30, interval=0.2)
        patch = json.dumps({"status": {"phase": phase}})
        where = ("pod", pod["metadata"]["name"], "-n", self.namespace)
        self.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", patch)

    def run(self, work: Callable[[Deletion], Awaitable[Any]]) -> Any:
        """Have the operator do one thing."""

        async def connected() -> Any:
            async with self._deletion() as deletion:
                return await work(deletion)

        return asyncio.run(connected())

    def proceed(self) -> datetime | None:
        """One pass over the deleted job."""
        body = self.read()
        when: datetime | None = self.run(lambda deletion: deletion.proceed(body))
        return when

    @asynccontextmanager
    async def _deletion(self) -> AsyncIterator[Deletion]:
        configuration = Configuration()
        await kube_config.load_kube_config(str(self.kubectl.kubeconfig), client_configuration=configuration)
        async with Cluster(configuration) as cluster:
            yield Deletion(cluster, SETTINGS, self._tell)

    async def _tell(self, _job: Metadata, events: Sequence[Event]) -> None:
        self.events += [f"{event.reason}: {event.note}" for event in events]


@pytest.fixture
def place(kubectl: Kubectl) -> Iterator[Place]:
    place = Place(kubectl)
    yield place
    if place.is_there():
        patch = '{"metadata": {"finalizers": null}}'
        kubectl("patch", "distillationjob", "tiny", "-n", place.namespace, "--type=merge", "-p", patch)
    kubectl("delete", "namespace", place.namespace, "--wait=false", "--ignore-not-found")


def held(place: Place, **edits: Any) -> dict[str, Any]:
    """A job whose artifacts go with it, once the operator has seen it."""
    body = place.job(deletionPolicy="Delete", **edits)
    found: dict[str, Any] = place.run(lambda deletion: deletion.hold(body, Spec.model_validate(body["spec"])))
    return found


POD = {"restartPolicy": "Never", "containers": [{"name": "stage", "image": "trainer:1"}]}
BATCH = ("batch/v1", "Job", "tiny-report-1", {"backoffLimit": 0, "template": {"spec": POD}})


def labelled(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "template": {"metadata": {"labels": {"branchmerge.dev/job": "tiny"}}, "spec": POD}}


def test_the_finalizer_follows_the_policy(place: Place) -> None:
    body = held(place)
    assert body["metadata"]["finalizers"] == [FINALIZER]
    assert body["metadata"]["resourceVersion"] == place.read()["metadata"]["resourceVersion"]
    again = place.run(lambda deletion: deletion.hold(body, Spec.model_validate(body["spec"])))
    assert again is body, "nothing is written that is right already"

    retained = place.job(deletionPolicy="Retain")
    place.run(lambda deletion: deletion.hold(retained, Spec.model_validate(retained["spec"])))
    assert "finalizers" not in place.read()["metadata"]
    with pytest.raises(ConflictError):
        place.run(lambda deletion: deletion.hold(body, Spec.model_validate(retained["spec"])))


def test_a_job_that_keeps_its_artifacts_goes_at_once(place: Place) -> None:
    place.job()
    place.child(*BATCH)
    place.delete()
    until("the job to go", lambda: not place.is_there(), timeout=60, interval=0.2)
    until("its child to go", lambda: not place.kubectl.exists("job", BATCH[2], place.namespace), timeout=60)


def test_children_go_first_then_artifacts_then_the_job(place: Place) -> None:
    body = held(place)
    place.child(BATCH[0], BATCH[1], BATCH[2], labelled(BATCH[3]))
    place.child("kubeflow.org/v1", "PyTorchJob", "tiny-train-math-1", {})
    until("a pod", lambda: place.pods_of(BATCH[2]), timeout=30, interval=0.2)
    place.delete()
    assert place.proceed() is not None
    assert not place.kubectl.find("pytorchjobs", place.namespace)
    cleanup = cleanup_name("tiny", body["metadata"]["uid"])

    def begun() -> bool:
        assert place.is_there()
        when = place.proceed()
        assert when is not None
        assert when > datetime.now(UTC)
        return place.kubectl.exists("job", cleanup, place.namespace)

    until("the clean-up", begun, timeout=40, interval=0.5)
    assert not place.pods_of(BATCH[2]), "no pod of a stage is left when the clean-up begins"
    assert place.proceed() is not None
    assert [job["metadata"]["name"] for job in place.kubectl.find("jobs", place.namespace)] == [cleanup]

    place.end_pod(cleanup, "Succeeded")
    place.kubectl.wait("job", cleanup, lambda job: has_condition(job, "Complete"), namespace=place.namespace)
    assert place.proceed() is None
    assert place.events == ["ArtifactsDeleted: what the job wrote is removed from its workspace"]
    until("the job to go", lambda: not place.is_there(), timeout=60, interval=0.2)
    until("its clean-up to go", lambda: not place.kubectl.find("jobs", place.namespace), timeout=60, interval=0.2)


def test_a_clean_up_that_fails_holds_nobody(place: Place) -> None:
    body = held(place)
    place.delete()
    assert place.proceed() is not None
    cleanup = cleanup_name("tiny", body["metadata"]["uid"])
    sooner = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    place.kubectl("patch", "job", cleanup, "-n", place.namespace, "--type=merge", "-p", sooner)
    place.kubectl.wait("job", cleanup, lambda job: has_condition(job, "Failed"), namespace=place.namespace)
    assert place.proceed() is None
    (event,) = place.events
    assert event.startswith("ArtifactsKept: what the job wrote is still in its workspace: the clean-up failed: ")
    until("the job to go", lambda: not place.is_there(), timeout=60, interval=0.2)


def test_a_namespace_that_is_deleted_is_not_held(place: Place) -> None:
    held(place)
    place.kubectl("delete", "namespace", place.namespace, "--wait=false")
    until(
        "the namespace to delete the job",
        lambda: "deletionTimestamp" in place.read()["metadata"],
        timeout=30,
        interval=0.2,
    )
    assert place.proceed() is None
    assert "the clean-up was refused" in place.events[0]
    assert "being terminated" in place.events[0]
    until(
        "the namespace to go", lambda: not place.kubectl.exists("namespace", place.namespace), timeout=60, interval=0.5
    )


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        pytest.param({"deletionPolicy": "Retain"}, [], id="the policy was changed at the last moment"),
        pytest.param(
            {"deletionPolicy": "Delete", "workspace": {"path": "tiny"}},
            ["ArtifactsKept: what the job wrote is still in its workspace: the spec names no volume"],
            id="it never had a volume",
        ),
    ],
)
def test_what_needs_no_clean_up(place: Place, edits: dict[str, Any], told: list[str]) -> None:
    held(place)
    place.job(**edits)
    place.delete()
    assert place.proceed() is None
    assert place.events == told
    until("the job to go", lambda: not place.is_there(), timeout=60, interval=0.2)


def test_an_uninstalled_operator_holds_nobody(place: Place) -> None:
    held(place)
    others = {"metadata": {"finalizers": [FINALIZER, "example.com/backup"]}}
    where = ("distillationjob", "tiny", "-n", place.namespace)
    place.kubectl("patch", *where, "--type=merge", "-p", json.dumps(others))
    environment = {**os.environ, "KUBECONFIG": str(place.kubectl.kubeconfig)}
    command = [sys.executable, "-m", "branchmerge.kube.release", place.namespace]
    for _ in range(2):  # nothing is left to do the second time
        assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 0
        assert place.read()["metadata"]["finalizers"] == ["example.com/backup"]


def test_the_time_to_live(place: Place) -> None:
    body = place.job(ttlSecondsAfterFinished=60)
    spec = Spec.model_validate(body["spec"])

    def expire(ended_ago: float, of: dict[str, Any]) -> datetime | None:
        status = Status(completion_time=datetime.now(UTC) - timedelta(seconds=ended_ago))
        due: datetime | None = place.run(lambda deletion: deletion.expire(of, spec, status))
        return due

    due = expire(10, body)
    assert due is not None
    assert 45 < (due - datetime.now(UTC)).total_seconds() < 50
    assert place.is_there()

    place.job(ttlSecondsAfterFinished=3600)
    with pytest.raises(ConflictError):
        expire(61, body)
    assert place.is_there(), "it was told to stay after it had been read"
    assert expire(61, place.read()) is None
    until("the job to go", lambda: not place.is_there(), timeout=60, interval=0.2)

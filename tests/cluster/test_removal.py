"""An operator of all namespaces, and what is left when a namespace goes, or the operator itself: nothing that hangs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from capabilities import speaking
from deployment.bench import Bench, load_quick_images, quick_job, values
from deployment.release import Release
from deployment.workspace import job_namespace
from localcluster.cluster import Cluster
from localcluster.kubectl import Kubectl
from localcluster.waiting import until

GONE_SECONDS = 60
LONG = {"train/math": {"steps": 400, "seconds": 0.25}}
OTHERS_PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def everywhere(cluster: Cluster, audit_start: int, request: pytest.FixtureRequest) -> Iterator[Release]:
    """An operator in a namespace of its own that watches all; jobs of other operators must be gone before."""
    with speaking(request):
        load_quick_images(cluster)
    kubectl = cluster.kubectl
    until("the jobs of others to go", lambda: not jobs_anywhere(kubectl), timeout=OTHERS_PATIENCE_SECONDS)
    name = f"everywhere-{uuid4().hex[:8]}"
    release = Release(kubectl, namespace=name, name=name)
    release.install({**values(name), "watchNamespace": "", "releaseJobsOnUninstall": True})
    yield release
    release.uninstall()
    kubectl("delete", "namespace", name, "--wait=false")


def jobs_anywhere(kubectl: Kubectl) -> bool:
    """Whether there is a job in any namespace."""
    known = kubectl.exists("crd", "distillationjobs.branchmerge.dev")
    return known and bool(kubectl("get", "distillationjobs", "--all-namespaces", "-o", "name").strip())


@contextmanager
def team(release: Release, folder: Path) -> Iterator[Bench]:
    """A namespace of people who have jobs."""
    with job_namespace(release.admin, f"team-{uuid4().hex[:8]}", folder) as name:
        yield Bench(release.admin, name, folder, release)


def test_an_operator_of_all_namespaces_is_denied_nothing(
    everywhere: Release, cluster: Cluster, audit_start: int, tmp_path: Path
) -> None:
    with team(everywhere, tmp_path / "one") as one, team(everywhere, tmp_path / "two") as two:
        for bench in (one, two):
            bench.apply(quick_job("plain"))
        for bench in (one, two):
            bench.wait_phase("plain", "Succeeded")
            bench.assert_each_stage_ran_once("plain")
    requests = cluster.audit.requests(user=everywhere.user, since=audit_start)
    assert {one.namespace, two.namespace} <= {request.namespace for request in requests}
    assert [request for request in requests if not request.allowed] == []


def test_a_namespace_with_running_jobs_goes_within_a_minute(everywhere: Release, tmp_path: Path) -> None:
    with team(everywhere, tmp_path) as bench:
        for name, policy in (("kept", "Retain"), ("cleaned", "Delete")):
            bench.apply(quick_job(name, LONG, deletionPolicy=policy))
        for name in ("kept", "cleaned"):
            bench.wait_steps("train/math", 2, job=name)
        began = time.monotonic()
        bench.kubectl("delete", "namespace", bench.namespace, f"--timeout={GONE_SECONDS}s")
        assert time.monotonic() - began < GONE_SECONDS
        assert bench.steps("train/math", "kept"), "deleting a job never deletes what it wrote unless it is asked to"


def test_jobs_of_an_operator_that_is_uninstalled_are_let_go(everywhere: Release, tmp_path: Path) -> None:
    with team(everywhere, tmp_path) as bench:
        bench.apply(quick_job("held", LONG, deletionPolicy="Delete"))
        bench.wait_steps("train/math", 2)
        assert bench.kubectl.get("dj", "held", bench.namespace)["metadata"]["finalizers"]
        everywhere.uninstall()
        assert not bench.kubectl.get("dj", "held", bench.namespace)["metadata"].get("finalizers")
        bench.wait_steps("train/math", len(bench.steps("train/math")) + 4)  # nobody stopped it

        bench.delete("held")
        until("its pods to go", lambda: not bench.pods("held"), timeout=40)
        assert bench.steps("train/math"), "what it wrote stays"
        own = everywhere.namespace
        assert bench.kubectl.find("jobs,serviceaccounts,roles", own, "app.kubernetes.io/name=branchmerge") == []
        bench.kubectl("delete", "namespace", bench.namespace, f"--timeout={GONE_SECONDS}s")

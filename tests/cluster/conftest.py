"""Real clusters, started once a session, and a namespace for each test."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from capabilities import or_skip, speaking
from deployment.bench import Bench, load_quick_images, operated
from deployment.faultproxy import FaultProxy, fault_proxy
from deployment.localoperator import LocalOperator
from localcluster.apionly import api_only
from localcluster.build import go_version
from localcluster.cluster import Cluster
from localcluster.controlplane import ControlPlane
from localcluster.machine import require_nodes
from localcluster.session import cluster_in_use
from localcluster.topology import FULL
from suite import AUDIT_START_ENV

TEST_TIMEOUT_SECONDS = 300
RERUNS = 2
"""A node of a busy machine may be late for once. The summary of the run names each test that was tried again."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The clock of a test stops while a cluster is built: from nothing that takes many minutes, once."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "cluster" in fixtures:
            item.add_marker(pytest.mark.flaky(reruns=RERUNS))
        if {"cluster", "api_only_cluster"} & fixtures:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes, two of them with GPUs, DNS and the training operator.

    One that `make cluster` brought up is used, and stays. Otherwise the first session of tests that needs one starts
    it, and the last one leaves nothing of it.
    """
    cluster = Cluster(FULL)
    with ExitStack() as stack:
        with speaking(request):
            or_skip(require_nodes)
            or_skip(go_version)
            stack.enter_context(cluster_in_use(cluster))
        yield cluster
        with speaking(request):
            stack.close()


@pytest.fixture(scope="session")
def audit_start(cluster: Cluster) -> int:
    """Where the audit log of the cluster ended when the tests began; those of other processes, where it is a suite."""
    return int(os.environ.get(AUDIT_START_ENV) or cluster.audit.position())


@pytest.fixture(scope="session")
def api_only_cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """An API server, etcd and the controller manager: no nodes, no root."""
    with ExitStack() as stack:
        with speaking(request):
            or_skip(go_version)
            plane = stack.enter_context(api_only())
        yield plane


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace of the cluster, which goes with the test."""
    name = f"test-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def lost_node(cluster: Cluster) -> Iterator[str]:
    """The name of a node that the test takes away; it is brought back afterwards."""
    yield "gpu-b"
    cluster.node("gpu-b").bring_back()


@pytest.fixture(scope="module")
def bench(
    cluster: Cluster, audit_start: int, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """A namespace with an operator of its own, for the tests of one file; its stages compute nothing."""
    with speaking(request):
        load_quick_images(cluster)
    with operated(cluster.kubectl, "bench", tmp_path_factory.mktemp("workspace")) as bench:
        yield bench


@pytest.fixture(autouse=True)
def _from_nothing(request: pytest.FixtureRequest) -> None:
    """Where a test is tried again, the jobs of the first try are gone, and what they wrote."""
    if getattr(request.node, "execution_count", 1) > 1 and "bench" in request.fixturenames:
        bench: Bench = request.getfixturevalue("bench")
        bench.clear()


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[FaultProxy]:
    """What stands between an operator and the API server, and spoils nothing until it is told to."""
    plane = cluster.control_plane
    with fault_proxy(f"https://{plane.host}:{plane.port}", plane.pki.certificate("ca.crt")) as proxy:
        yield proxy


@pytest.fixture
def operator(bench: Bench, proxy: FaultProxy, tmp_path: Path) -> Iterator[LocalOperator]:
    """The bench's operator as a process behind the proxy, which is not started yet; its pods are gone meanwhile."""
    bench.scale(0)
    operator = LocalOperator(bench.release, proxy.url, tmp_path)
    yield operator
    operator.kill()
    bench.scale(1)

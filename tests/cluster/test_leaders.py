"""Two replicas: one leads, the other one changes nothing until it must."""

import time
from pathlib import Path

import pytest

from deployment.bench import Bench, quick_job, values
from deployment.faultproxy import FaultProxy
from deployment.localoperator import LocalOperator
from localcluster.cluster import Cluster
from localcluster.waiting import until

HANDED_OVER_SECONDS = 20
READS = {"get", "list", "watch"}
SLOW = {"steps": 60, "seconds": 0.25}


@pytest.fixture
def pair(bench: Bench) -> Bench:
    """The bench with two replicas and the chart's own times of the lease."""
    bench.release.install({**values(bench.namespace), "replicas": 2, "leaderElection": {}})
    until("one of two replicas to lead", lambda: len(bench.operator_pods()) == 2 and bench.leader(), timeout=60)
    return bench


def test_when_the_leader_is_killed_another_replica_leads_and_the_job_ends_right(pair: Bench, cluster: Cluster) -> None:
    position = cluster.audit.position()
    pair.apply(quick_job("handed", {"train/math": SLOW}))
    pair.wait_steps("train/math", 3)
    first = pair.leader()
    requests = cluster.audit.requests(user=pair.release.user, since=position)
    writes = {(request.pod, request.resource) for request in requests if request.verb not in READS}
    assert (first, "pytorchjobs") in writes
    assert {pod for pod, resource in writes if resource != "leases"} == {first}, "a replica that stands by only waits"

    began = time.monotonic()
    pair.kubectl("delete", "pod", first, "-n", pair.namespace, "--force", "--grace-period=0")
    until(
        "another replica to lead", lambda: pair.leader() not in {"", first}, timeout=HANDED_OVER_SECONDS, interval=0.2
    )
    assert time.monotonic() - began < HANDED_OVER_SECONDS

    pair.wait_phase("handed", "Succeeded")
    assert pair.steps("train/math", "handed") == list(range(1, SLOW["steps"] + 1)), "the branch went on all the while"
    assert {stage["attempts"] for stage in pair.status("handed")["stages"]} == {1}
    children = [child["metadata"]["annotations"]["branchmerge.dev/stage"] for child in pair.children("handed")]
    assert sorted(children) == sorted(stage["name"] for stage in pair.status("handed")["stages"])


def test_a_leader_that_ends_in_order_hands_over_at_once(pair: Bench) -> None:
    first = pair.leader()
    began = time.monotonic()
    pair.kubectl("delete", "pod", first, "-n", pair.namespace, "--wait=false")
    until(
        "another replica to lead", lambda: pair.leader() not in {"", first}, timeout=HANDED_OVER_SECONDS, interval=0.2
    )
    assert time.monotonic() - began < HANDED_OVER_SECONDS / 2, "the lease was given back, not waited for"


def test_a_leader_that_hangs_is_replaced_and_ends_when_it_wakes(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy, tmp_path: Path
) -> None:
    other = LocalOperator(bench.release, proxy.url, tmp_path, identity="other")
    try:
        operator.start()
        until("the first one to lead", lambda: bench.leader() == operator.identity, timeout=30)
        other.start()
        until("the other one to stand by", lambda: other.health("/readyz")[0] == 200, timeout=30)
        bench.apply(quick_job("woken", {"train/math": SLOW}))
        bench.wait_steps("train/math", 3, job="woken")
        operator.pause()
        until("the other one to lead", lambda: bench.leader() == other.identity, timeout=HANDED_OVER_SECONDS)
        operator.proceed()
        until("the one that hung to end", lambda: not operator.running, timeout=10)
        assert operator.process is not None
        assert operator.process.returncode == 1
        bench.wait_phase("woken", "Succeeded")
        assert {stage["attempts"] for stage in bench.status("woken")["stages"]} == {1}
        assert bench.steps("train/math", "woken") == list(range(1, SLOW["steps"] + 1))
    finally:
        other.kill()

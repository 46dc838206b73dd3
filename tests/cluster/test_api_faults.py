"""What an API server can do to the operator, by a proxy between the two: jobs end right."""

import json
import random
import time
from collections.abc import Callable

import pytest

from deployment.bench import LEASE_SECONDS, Bench, quick_job
from deployment.faultproxy import Call, Fault, FaultProxy
from deployment.localoperator import LocalOperator
from localcluster.audit import AuditLog
from localcluster.cluster import Cluster
from localcluster.waiting import until

SEED = 5
RATE = 0.2
IDLE_SECONDS = 15
BIG = 300_000
Applies = Callable[[Call], bool]


def at_a_rate(fault: Fault, applies: Applies) -> Callable[[Call], Fault]:
    """Spoil a fifth of the requests to which the fault applies."""
    dice = random.Random(SEED)
    return lambda call: fault if applies(call) and dice.random() < RATE else Fault.NONE


def everything(_call: Call) -> bool:
    return True


@pytest.mark.parametrize(
    ("fault", "applies"),
    [
        (Fault.LOST, everything),
        (Fault.UNANSWERED, everything),
        (Fault.CONFLICT, lambda call: call.method != "GET"),
        (Fault.GONE, lambda call: call.watch),
        (Fault.BUSY, everything),
        (Fault.BROKEN, everything),
    ],
    ids=["lost", "carried out and unanswered", "409", "410", "429", "500"],
)
def test_a_fifth_of_the_requests_is_spoilt(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy, fault: Fault, applies: Applies
) -> None:
    name = fault.name.lower()
    proxy.judge = at_a_rate(fault, applies)
    operator.start()
    bench.apply(quick_job(name))
    while bench.status(name).get("phase") not in {"Succeeded", "Failed"}:
        assert operator.running, operator.log.read_text()[-2000:]
        if fault is Fault.GONE:
            proxy.cut()  # watches last: only one that starts anew can be told that it is too old
        time.sleep(0.5)
    bench.wait_phase(name, "Succeeded")
    assert proxy.spoilt(fault) >= 3
    bench.assert_each_stage_ran_once(name)
    assert operator.running


def test_connections_that_hang(bench: Bench, operator: LocalOperator, proxy: FaultProxy) -> None:
    """A status that is not answered, then a child, and a lease all the while: the operator does not wait for ever."""
    hung: set[str] = set()

    def first_of_each(call: Call) -> Fault:
        kind = call.path.split("/")[-1]
        if call.method == "GET" or kind not in {"status", "pytorchjobs"} or kind in hung:
            return Fault.NONE
        hung.add(kind)
        return Fault.HANGS

    proxy.judge = first_of_each
    operator.start()
    bench.apply(quick_job("hangs"))
    bench.wait_phase("hangs", "Succeeded", timeout=120)
    assert hung == {"status", "pytorchjobs"}
    bench.assert_each_stage_ran_once("hangs")


def test_a_result_is_found_though_the_watch_of_pods_is_deaf(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy
) -> None:
    """That a child succeeded is known, with what result is not: no reason to run its stage again."""
    proxy.judge = lambda call: Fault.HANGS if call.watch and call.path.endswith("/pods") else Fault.NONE
    operator.start()
    bench.apply(quick_job("deaf"))
    bench.wait_phase("deaf", "Succeeded", timeout=50)
    bench.assert_each_stage_ran_once("deaf")


def test_an_object_greater_than_any_buffer_stops_no_watch(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy
) -> None:
    operator.start()
    operator.wait_ready()
    container = {
        "name": "idle",
        "image": "none",
        "env": [{"name": "BIG", "value": "x" * BIG}],
    }
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    labels = {"branchmerge.dev/job": "nobody"}
    metadata = {"name": "big", "namespace": bench.namespace, "labels": labels}
    spec = {"suspend": True, "template": template}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    bench.kubectl("create", "-f", "-", stdin=json.dumps(job))
    bench.apply(quick_job("beside"))
    bench.wait_phase("beside", "Succeeded")
    bench.kubectl("delete", "job", "big", "-n", bench.namespace)
    assert "Traceback" not in operator.log.read_text()


def test_readiness_knows_whether_watches_live(bench: Bench, operator: LocalOperator, proxy: FaultProxy) -> None:
    operator.start()
    operator.wait_ready()

    def no_pods(call: Call) -> Fault:
        return Fault.LOST if call.path.endswith("/pods") else Fault.NONE

    proxy.judge = no_pods
    proxy.cut()

    def told() -> bool:
        status, word = operator.health("/readyz")
        return status == 503 and word.startswith(
            "watch of pods: "
        )  # those that come back are told of, too, for a moment

    until("the word of the lost watch", told, timeout=10)
    assert operator.health("/healthz") == (200, "ok"), "a new process would fare no better"
    proxy.judge = lambda _: Fault.NONE
    operator.wait_ready()


def test_without_an_api_server_a_leader_gives_the_lead_up(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy
) -> None:
    operator.start()
    operator.wait_ready()
    cut_at = time.monotonic()
    proxy.judge = lambda _: Fault.HANGS
    proxy.cut()
    until("the operator to end", lambda: not operator.running, timeout=LEASE_SECONDS + 10, interval=0.05)
    assert time.monotonic() - cut_at < LEASE_SECONDS + 1, "before another replica may lead"
    assert operator.process is not None
    assert operator.process.returncode == 1
    assert "could not renew the lease" in operator.log.read_text()
    operator.start()
    until("a replica that stands by", lambda: operator.health("/healthz")[0] == 200, timeout=10)
    assert operator.health("/readyz")[0] == 503
    proxy.judge = lambda _: Fault.NONE
    proxy.cut()
    operator.wait_ready()


def test_a_deaf_watch_of_jobs_is_found_out(bench: Bench, operator: LocalOperator, proxy: FaultProxy) -> None:
    """What it missed is worked on, and the replica says that it must be started anew."""
    operator.override(resyncSeconds=10)
    proxy.judge = lambda call: Fault.HANGS if call.watch and call.path.endswith("/distillationjobs") else Fault.NONE
    operator.start()
    operator.wait_ready()
    bench.apply(quick_job("unheard"))
    bench.wait_phase("unheard", "Succeeded")
    until("the word of the deaf watch", lambda: operator.health("/healthz")[0] == 503, timeout=30)
    word = operator.health("/healthz")[1]
    assert word.startswith("the watch of jobs is dead: it has not told of ")
    assert f"{bench.namespace}/unheard" in word
    assert operator.health("/readyz")[0] == 503


def test_an_idle_operator_lets_the_api_server_be(bench: Bench, cluster: Cluster) -> None:
    """All jobs have ended: but for its lease it asks next to nothing."""
    bench.apply(quick_job("done"))
    bench.wait_phase("done", "Succeeded")
    position = settled(cluster.audit, bench.release.user)
    time.sleep(IDLE_SECONDS)
    asked = cluster.audit.requests(user=bench.release.user, since=position)
    of_lease = [request for request in asked if request.resource == "leases"]
    assert 2 <= len(of_lease) <= IDLE_SECONDS + 2, "a read and a write every two seconds, as the bench has it"
    assert len(asked) - len(of_lease) <= 3, [request for request in asked if request.resource != "leases"]


def settled(audit: AuditLog, user: str) -> int:
    """Wait until a user asks for nothing but its lease; the log's position then."""

    def quiet() -> int:
        position = audit.position()
        time.sleep(2)
        others = [each for each in audit.requests(user=user, since=position) if each.resource != "leases"]
        return 0 if others else audit.position()

    return until("quiet", quiet, timeout=30)

"""The operator is killed at every step that it takes: nothing is lost, nothing is done twice."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployment.bench import Bench, quick_job
from deployment.faultproxy import Call, Fault, FaultProxy
from deployment.localoperator import LocalOperator
from localcluster.cluster import Cluster
from localcluster.waiting import until

SEED = 7
STAGES = 9
WRITES_OF_A_JOB = 27
"""Fewer than a job of nine stages takes: a child and the word of its end for each stage, and the status with them."""


class Killer:
    """Kills the operator at each write, in turn before it is carried out and after, as a seeded coin says.

    A write that was lost passes when it is tried again, so that the job moves.
    """

    def __init__(self, operator: LocalOperator) -> None:
        self._operator = operator
        self._coin = random.Random(SEED)
        self._spared = False

    def __call__(self, call: Call) -> Fault:
        if not call.writes:
            return Fault.NONE
        if self._spared:
            self._spared = False
            return Fault.NONE
        fault = self._coin.choice([Fault.LOST, Fault.UNANSWERED])
        self._spared = fault is Fault.LOST
        self._operator.kill()
        return fault


@contextmanager
def killed_at_each_write(operator: LocalOperator, proxy: FaultProxy) -> Iterator[None]:
    """The operator is started again whenever it was killed, until the context ends."""
    over = threading.Event()

    def revive() -> None:
        while not over.wait(0.02):
            operator.start()

    proxy.judge = Killer(operator)
    reviver = threading.Thread(target=revive)
    reviver.start()
    try:
        yield
    finally:
        over.set()
        reviver.join()
        operator.kill()


def test_killed_at_each_write_of_a_job(bench: Bench, operator: LocalOperator, proxy: FaultProxy) -> None:
    with killed_at_each_write(operator, proxy):
        bench.apply(quick_job("written"))
        bench.wait_phase("written", "Succeeded", timeout=200)
    assert len(proxy.faults) >= WRITES_OF_A_JOB
    assert min(proxy.spoilt(Fault.LOST), proxy.spoilt(Fault.UNANSWERED)) >= WRITES_OF_A_JOB // 4
    assert len(bench.children("written")) == STAGES
    bench.assert_each_stage_ran_once("written")


def test_killed_at_each_write_of_a_stop_and_of_a_deletion(
    bench: Bench, operator: LocalOperator, proxy: FaultProxy
) -> None:
    quick = {"train/math": {"steps": 20, "seconds": 0.3}}
    with killed_at_each_write(operator, proxy):
        bench.apply(quick_job("stopped", quick, deletionPolicy="Delete"))
        bench.wait_steps("train/math", 3)
        bench.patch("stopped", suspend=True)
        bench.wait_phase("stopped", "Suspended")
        assert {pod["status"]["phase"] for pod in bench.pods("stopped")} <= {"Succeeded", "Failed"}
        bench.patch("stopped", suspend=False)
        bench.wait_phase("stopped", "Succeeded", timeout=150)
        assert sorted(bench.steps("train/math", "stopped")) == list(range(1, 21)), "it goes on where it was stopped"
        assert list(bench.folder.glob("stopped/stages/*"))
        bench.delete("stopped")
    assert not list(bench.folder.glob("stopped/stages/*"))


def test_killed_pods(bench: Bench, cluster: Cluster) -> None:
    """A process killed in its pod, and a pod that is taken away without notice."""
    quick = {"train/math": {"seconds": 2}, "merge/final": {"seconds": 2}}
    bench.apply(quick_job("podless", quick))
    bench.wait_stage("podless", "train/math", "Running")
    (first,) = bench.operator_pods()
    kill_container(bench, cluster, first)
    bench.wait_stage("podless", "merge/final", "Running")
    bench.kubectl("delete", "pod", first, "-n", bench.namespace, "--force", "--grace-period=0")
    bench.wait_phase("podless", "Succeeded")
    assert bench.operator_pods() != [first]
    bench.assert_each_stage_ran_once("podless")


def kill_container(bench: Bench, cluster: Cluster, pod: str) -> None:
    """Kill -9 the process of a pod, and wait until its kubelet has started it anew."""

    def container() -> dict[str, object]:
        (status,) = bench.kubectl.get("pod", pod, bench.namespace)["status"]["containerStatuses"]
        found: dict[str, object] = status
        return found

    before = container()
    identity = str(before["containerID"]).rpartition("/")[2]
    cluster.node("cpu").ctr("task", "kill", "--signal", "9", identity)
    until(f"{pod} to start anew", lambda: container()["restartCount"] != before["restartCount"], timeout=30)

"""The real training operator runs PyTorchJobs."""

import pytest

from localcluster.cluster import Cluster
from localcluster.kubectl import has_condition
from localcluster.shell import CommandError
from workloads import ending, pytorch_job, template

MASTER = """
    echo "rank $RANK of $WORLD_SIZE waits on port $MASTER_PORT"
    timeout 60 nc -l -p "$MASTER_PORT"
"""
WORKER = """
    for attempt in $(seq 60); do
        echo "rank $RANK of $WORLD_SIZE reached $MASTER_ADDR" | nc -w 2 "$MASTER_ADDR" "$MASTER_PORT" && exit 0
        sleep 1
    done
    exit 1
"""


def test_ranks_in_two_pools_find_each_other_and_the_job_succeeds(cluster: Cluster, namespace: str) -> None:
    master, worker = template(MASTER, pool="gpu-a", gpus=1), template(WORKER, pool="gpu-b", gpus=1)
    cluster.kubectl.apply(pytorch_job("pair", namespace, master=master, worker=worker))
    cluster.kubectl.wait(
        "pytorchjob", "pair", lambda job: has_condition(job, "Succeeded"), namespace=namespace, timeout=90
    )
    assert cluster.kubectl("logs", "pair-master-0", "-n", namespace).splitlines() == [
        "rank 0 of 2 waits on port 23456",
        "rank 1 of 2 reached pair-master-0",
    ]
    nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.kubectl.find("pods", namespace)}
    assert nodes["pair-master-0"] == "gpu-a"


def test_a_failed_rank_stays_readable_with_its_code_message_and_log(cluster: Cluster, namespace: str) -> None:
    script = "echo training; echo 'spec.student.model: no such model' > /dev/termination-log; exit 64"
    cluster.kubectl.apply(pytorch_job("wrong", namespace, master=template(script, pool="gpu-a", gpus=1)))
    job = cluster.kubectl.wait(
        "pytorchjob", "wrong", lambda job: has_condition(job, "Failed"), namespace=namespace, timeout=90
    )
    assert not has_condition(job, "Succeeded")
    end = ending(cluster.kubectl.get("pod", "wrong-master-0", namespace))
    assert (end["exitCode"], end["message"]) == (64, "spec.student.model: no such model\n")
    assert cluster.kubectl("logs", "wrong-master-0", "-n", namespace) == "training\n"


def test_the_webhook_refuses_a_job_that_the_operator_cannot_run(cluster: Cluster, namespace: str) -> None:
    spec = template("true")
    spec["containers"][0]["name"] = "trainer"
    with pytest.raises(CommandError, match=r'"validator\.pytorchjob\.training-operator\.kubeflow\.org" denied'):
        cluster.kubectl.apply(pytorch_job("unnamed", namespace, master=spec))

"""What a spec gives to its pods reaches real containers, through the real training operator and the Job controller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from branchmerge.core.model import Start
from branchmerge.kube.manifests import child_manifest
from branchmerge.kube.settings import OperatorSettings
from builders import make_job
from localcluster.cluster import Cluster
from localcluster.topology import GPU_RESOURCE, POOL_LABEL
from localcluster.waiting import until
from workloads import SHELL_IMAGE, ending
from world import World

SETTINGS = OperatorSettings.model_validate(
    {
        "trainerImage": SHELL_IMAGE,
        "imagePullPolicy": "Never",
        "defaultPool": {"nodeSelector": {POOL_LABEL: "cpu"}, "cpu": "50m", "memory": "64Mi"},
        "pools": {
            "gpu-a": {
                "nodeSelector": {POOL_LABEL: "gpu-a"},
                "tolerations": [{"key": GPU_RESOURCE, "operator": "Exists"}],
                "cpu": "50m",
                "memory": "64Mi",
            }
        },
    }
)
POD_TEMPLATE = {
    "labels": {"team": "reasoning"},
    "annotations": {"example.com/network": "rdma"},
    "env": [
        {"name": "HF_HOME", "value": "/scratch/hub"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "https"}}},
    ],
    "volumes": [
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "hub", "secret": {"secretName": "hub"}},
        {"name": "proxy", "configMap": {"name": "proxy"}},
    ],
    "volumeMounts": [
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "hub", "mountPath": "/etc/hub", "readOnly": True},
        {"name": "proxy", "mountPath": "/etc/proxy/https", "subPath": "https"},
    ],
    "serviceAccountName": "reader",
    "priorityClassName": "branchmerge-test",
}
SCRIPT = """
    set -e
    echo x > /scratch/x
    echo "$HF_HOME $HF_TOKEN $PROXY $(cat /etc/hub/token) $(cat /etc/proxy/https) $(id -u)" > /dev/termination-log
"""
SEEN = "/scratch/hub s3cret http://proxy s3cret http://proxy 65532\n"


@pytest.fixture
def team(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The namespace under *restricted* Pod Security, with what the job refers to."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    here = {"namespace": namespace}
    cluster.kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", **here}, "stringData": {"token": "s3cret"}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "proxy", **here},
            "data": {"https": "http://proxy"},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", **here}},
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "branchmerge-test"},
            "value": 1000,
        },
    )
    yield namespace
    cluster.kubectl("delete", "priorityclass", "branchmerge-test")


def child_of(namespace: str, stage: str) -> dict[str, Any]:
    """The child of a stage; its container runs a script, and its workspace is empty."""
    edits = {
        "podTemplate": POD_TEMPLATE,
        "resources": {"pool": "gpu-a", "gpusPerNode": 2},
        "workspace": {"persistentVolumeClaim": {"claimName": "models"}},
    }
    world = World(make_job(edits, namespace=namespace, uid="0b0e5c1e-0000-4000-8000-000000000000"))
    while True:
        actions = world.plan().actions
        for action in actions:
            if isinstance(action, Start) and action.stage.name == stage:
                return with_script(child_manifest(action, world.job, SETTINGS))
        world.perform(actions)
        for attempt in world.active():
            world.end(attempt)


def with_script(child: dict[str, Any]) -> dict[str, Any]:
    del child["metadata"]["ownerReferences"]  # the job is not on the cluster
    for replica in child["spec"].get("pytorchReplicaSpecs", {"Job": child["spec"]}).values():
        spec = replica["template"]["spec"]
        spec["containers"][0]["command"] = ["sh", "-c", SCRIPT]
        spec["volumes"][0] = {"name": "workspace", "emptyDir": {}}
    return child


@pytest.mark.parametrize(
    ("stage", "gpus"), [("train/math", "2"), ("curate/math", None)], ids=["a PyTorchJob", "a batch Job"]
)
def test_a_pod_has_what_the_spec_gives_it(cluster: Cluster, team: str, stage: str, gpus: str | None) -> None:
    cluster.kubectl.apply(child_of(team, stage))

    def ended(found: dict[str, Any]) -> bool:
        return found["status"].get("phase") in ("Succeeded", "Failed")

    begun = until("a pod", lambda: next(iter(cluster.kubectl.find("pods", team)), None), timeout=60)
    assert begun is not None
    name = begun["metadata"]["name"]
    pod = cluster.kubectl.wait("pod", name, ended, namespace=team, timeout=90)
    assert ending(pod)["message"] == SEEN
    metadata, spec = pod["metadata"], pod["spec"]
    assert metadata["labels"].items() >= {"team": "reasoning", "branchmerge.dev/job": "tiny"}.items()
    assert metadata["annotations"]["example.com/network"] == "rdma"
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("reader", "branchmerge-test")
    assert (spec["priority"], spec["automountServiceAccountToken"]) == (1000, False)
    resources = spec["containers"][0]["resources"]
    assert resources["requests"].get(GPU_RESOURCE) == resources["limits"].get(GPU_RESOURCE) == gpus

"""Builders of pods and PyTorchJobs that run a shell script."""

from typing import Any

from localcluster.topology import GPU_RESOURCE, POOL_LABEL

Object = dict[str, Any]
SHELL_IMAGE = "docker.io/library/alpine:3.10"
RESTRICTED_POD = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def template(script: str, *, pool: str = "cpu", gpus: int = 0, memory: str = "", restricted: bool = True) -> Object:
    """The `spec` of a pod that runs a script once, on a node of a pool."""
    limits = {name: value for name, value in {GPU_RESOURCE: str(gpus or ""), "memory": memory}.items() if value}
    container: Object = {
        "name": "pytorch",  # the name that the training operator demands
        "image": SHELL_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "resources": {"limits": limits},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {POOL_LABEL: pool},
        "containers": [container],
    }
    if gpus:
        spec["tolerations"] = [{"key": GPU_RESOURCE, "operator": "Exists"}]
    if restricted:
        spec["securityContext"] = RESTRICTED_POD
        container["securityContext"] = RESTRICTED_CONTAINER
    return spec


def pod(name: str, namespace: str, spec: Object) -> Object:
    """A pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pytorch_job(name: str, namespace: str, *, master: Object, worker: Object | None = None) -> Object:
    """A PyTorchJob of one master and at most one worker, whose failed pods stay readable."""
    replicas = {"Master": master} if worker is None else {"Master": master, "Worker": worker}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": {
                kind: {"replicas": 1, "restartPolicy": "Never", "template": {"spec": spec}}
                for kind, spec in replicas.items()
            },
        },
    }


def finished(pod: Object) -> bool:
    """Whether every container of a pod has ended for good."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def ending(pod: Object) -> Object:
    """How the only container of a finished pod ended: exit code, reason, message."""
    terminated: Object = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return terminated

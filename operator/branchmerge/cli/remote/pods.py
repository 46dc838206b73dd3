"""What a command reads off a pod. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from branchmerge.kube.labels import REPLICA_INDEX_LABEL
from branchmerge.kube.raw import Raw

_HOPELESS = frozenset(
    {"CreateContainerConfigError", "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"}
)


def pods_by_node(pods: Iterable[Raw], child: str) -> dict[int, Raw]:
    """The newest pod of each node of a child, by the node's number."""
    own = [pod for pod in pods if any(owner["name"] == child for owner in pod["metadata"].get("ownerReferences", []))]
    return {_node_of(pod): pod for pod in sorted(own, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))}


def _node_of(pod: Raw) -> int:
    """Worker n of a PyTorchJob is node n; any other child has one node."""
    return int(pod["metadata"].get("labels", {}).get(REPLICA_INDEX_LABEL, "0"))


def has_started(pod: Raw, container: str) -> bool:
    """Whether the container has a log."""
    state = _container(pod, container).get("state", {})
    return "running" in state or "terminated" in state


def exit_code(pod: Raw, container: str) -> int | None:
    """How the container ended, None while it has not. A pod that died before its container ran counts as -1."""
    terminated = _container(pod, container).get("state", {}).get("terminated")
    if terminated:
        return int(terminated["exitCode"])
    return -1 if pod.get("status", {}).get("phase") == "Failed" else None


def why_waiting(pod: Raw, container: str) -> str:
    """Why the container does not run yet, as far as Kubernetes says."""
    waiting = _container(pod, container).get("state", {}).get("waiting", {})
    if waiting.get("reason"):
        return _sentence(waiting)
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _sentence(condition)
    status = pod.get("status", {})
    return _sentence(status) or str(status.get("phase", "Pending"))


def is_hopeless(pod: Raw, container: str) -> bool:
    """Whether it will not start without somebody's help."""
    return _container(pod, container).get("state", {}).get("waiting", {}).get("reason") in _HOPELESS


def _sentence(status: Raw) -> str:
    return ": ".join(status[key] for key in ("reason", "message") if status.get(key))


def _container(pod: Raw, name: str) -> Raw:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        if status["name"] == name:
            found: Raw = status
            return found
    return {}

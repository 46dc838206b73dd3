"""A real API server takes the children as they are: strictly validated, *restricted* Pod Security, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.controlplane import ControlPlane
from localcluster.kubectl import Kubectl
from localcluster.shell import CommandError

GOLDEN = sorted((Path(__file__).parents[1] / "golden/manifests").glob("*.yaml"))
NAMESPACE = "team"


@pytest.fixture(scope="module")
def kubectl(api_only_cluster: ControlPlane) -> Iterator[Kubectl]:
    """kubectl where pods must meet the *restricted* standard, and what the golden files refer to is there."""
    kubectl = api_only_cluster.kubectl
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": NAMESPACE}},
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "research"},
            "value": 1000,
        },
    )
    kubectl.wait("serviceaccount", "default", lambda _: True, namespace=NAMESPACE)
    yield kubectl
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def created(kubectl: Kubectl, body: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server would keep it."""
    how = ("--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-o", "json", "-f", "-")
    answer: dict[str, Any] = json.loads(kubectl("create", *how, stdin=json.dumps(body)))
    return answer


def lost(sent: Any, kept: Any, path: str = "") -> list[str]:
    """Paths of what was sent and is not kept as it is; the API server may add to it."""
    if isinstance(sent, dict):
        return [line for key in sent for line in lost(sent[key], (kept or {}).get(key), f"{path}.{key}")]
    if isinstance(sent, list):
        pairs = zip(sent, (kept or [])[: len(sent)], strict=True)
        return [line for index, (one, other) in enumerate(pairs) for line in lost(one, other, f"{path}[{index}]")]
    return [] if sent == kept or (sent is False and kept is None) else [f"{path}: {sent!r} became {kept!r}"]


def templates(child: dict[str, Any]) -> list[dict[str, Any]]:
    """The template of every kind of pod."""
    replicas = child["spec"].get("pytorchReplicaSpecs", {"Job": child["spec"]}).values()
    return [replica["template"] for replica in replicas]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_its_pods_are_admitted_and_kept(kubectl: Kubectl, path: Path) -> None:
    for template in templates(yaml.safe_load(path.read_text())):
        metadata = {**template["metadata"], "generateName": "stage-"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        assert lost(pod, created(kubectl, pod)) == []


@pytest.mark.parametrize(
    "path", [path for path in GOLDEN if "kind: Job" in path.read_text()], ids=lambda path: path.stem
)
def test_a_batch_job_is_kept(kubectl: Kubectl, path: Path) -> None:
    job = yaml.safe_load(path.read_text())
    kept = created(kubectl, job)
    assert lost(job, kept) == []
    assert kept["spec"].get("activeDeadlineSeconds") == job["spec"].get("activeDeadlineSeconds"), "deadlines are ours"


def test_a_pod_that_is_not_restricted_is_refused(kubectl: Kubectl) -> None:
    """The namespace does what the tests above rely on."""
    template = templates(yaml.safe_load(GOLDEN[0].read_text()))[0]
    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "stage-"}, "spec": template["spec"]}
    with pytest.raises(CommandError, match="violates PodSecurity"):
        created(kubectl, pod)

"""The nodes of the cluster are real: scheduler, kubelet, containers, DNS, memory limits, eviction, node loss."""

import re
import subprocess
import urllib.request
from collections.abc import Callable

import pytest

from localcluster.build import KUBERNETES
from localcluster.cluster import Cluster
from localcluster.kubectl import has_condition
from localcluster.reading import Object
from localcluster.shell import CommandError
from localcluster.waiting import until
from workloads import ending, finished, pod, template

GPU = "nvidia.com/gpu"
FINALIZER = "branchmerge.dev/test"


def test_three_nodes_are_ready_in_two_gpu_pools_and_a_cpu_pool(cluster: Cluster) -> None:
    nodes = cluster.kubectl.find("nodes")
    seen = {
        node["metadata"]["name"]: (
            node["metadata"]["labels"]["branchmerge.dev/pool"],
            node["status"]["allocatable"].get(GPU, "0"),
            [taint["key"] for taint in node["spec"].get("taints", []) if taint["effect"] == "NoSchedule"],
        )
        for node in nodes
        if has_condition(node, "Ready")
    }
    assert seen == {
        "cpu": ("cpu", "0", []),
        "gpu-a": ("gpu-a", "8", [GPU]),
        "gpu-b": ("gpu-b", "8", [GPU]),
    }


def test_gpus_are_counted_and_kept_for_pods_that_ask_for_them(cluster: Cluster, namespace: str) -> None:
    kubectl = cluster.kubectl
    kubectl.apply(
        pod("takes-all", namespace, template("sleep 60", pool="gpu-a", gpus=8)),
        pod("no-toleration", namespace, template("true", pool="gpu-b")),
    )
    kubectl.wait("pod", "takes-all", lambda found: found["status"]["phase"] == "Running", namespace=namespace)
    kubectl.apply(pod("one-too-many", namespace, template("true", pool="gpu-a", gpus=1)))
    for name, reason in {"one-too-many": f"Insufficient {GPU}", "no-toleration": "untolerated taint"}.items():
        kubectl.wait("pod", name, unschedulable_for(reason), namespace=namespace)


def test_a_pod_finds_a_service_by_its_name_and_nothing_outside(cluster: Cluster, namespace: str) -> None:
    script = """
        nslookup kubernetes.default && nslookup kube-dns.kube-system.svc.cluster.local || exit 1
        nslookup example.com && exit 2
        timeout 5 wget -q -O - http://kube-dns.kube-system:9153/metrics | head -n 1
        timeout 2 wget -q -O - http://192.0.2.1/ && exit 3
        echo done
    """
    cluster.kubectl.apply(pod("looks-up", namespace, template(script, pool="gpu-b", gpus=1)))
    found = cluster.kubectl.wait("pod", "looks-up", finished, namespace=namespace)
    log = cluster.kubectl("logs", "looks-up", "-n", namespace)
    assert ending(found)["exitCode"] == 0, log
    assert {"198.18.64.1", "198.18.64.10"} == set(re.findall(r"^198\.18\.\S+", log, re.MULTILINE)), log
    assert "# HELP" in log


def test_pods_and_services_are_reached_from_this_machine(cluster: Cluster) -> None:
    dns = cluster.kubectl.find("pods", "kube-system", "k8s-app=kube-dns")[0]
    for address in (dns["status"]["podIP"], cluster.topology.dns):
        with urllib.request.urlopen(f"http://{address}:9153/metrics", timeout=10) as answer:
            assert b"coredns_dns_requests_total" in answer.read()


def test_exec_runs_in_a_container(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl.apply(pod("stays", namespace, template("sleep 60")))
    cluster.kubectl.wait("pod", "stays", lambda found: found["status"]["phase"] == "Running", namespace=namespace)
    assert cluster.kubectl("exec", "stays", "-n", namespace, "--", "id", "-u").strip() == "65532"


def test_a_process_over_its_memory_limit_is_oom_killed(cluster: Cluster, namespace: str) -> None:
    grow = "echo started; tail /dev/zero"
    cluster.kubectl.apply(pod("grows", namespace, template(grow, memory="32Mi")))
    found = cluster.kubectl.wait("pod", "grows", finished, namespace=namespace)
    assert (ending(found)["reason"], ending(found)["exitCode"]) == ("OOMKilled", 137)


def test_a_drained_node_disrupts_its_pods_and_says_so(cluster: Cluster, namespace: str) -> None:
    kubectl = cluster.kubectl
    victim = pod("drained", namespace, template("sleep 600", pool="gpu-b", gpus=1))
    victim["metadata"] |= {"finalizers": [FINALIZER], "labels": {"drain": namespace}}
    kubectl.apply(victim)
    kubectl.wait("pod", "drained", lambda found: found["status"]["phase"] == "Running", namespace=namespace)
    argv = ["drain", "gpu-b", "--force", "--ignore-daemonsets", f"--pod-selector=drain={namespace}", "--timeout=60s"]
    drain = subprocess.Popen([KUBERNETES.program("kubectl"), "--kubeconfig", cluster.kubeconfig, *argv])
    try:
        found = kubectl.wait("pod", "drained", finished, namespace=namespace)
        assert reason_of_disruption(found) == "EvictionByEvictionAPI"
        kubectl("patch", "pod", "drained", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert drain.wait(timeout=60) == 0
        assert kubectl.get("node", "gpu-b")["spec"]["unschedulable"] is True
    finally:
        drain.kill()
        drain.wait()
        kubectl("uncordon", "gpu-b")


def test_a_lost_node_disrupts_its_pods_and_comes_back_with_its_gpus(
    cluster: Cluster, namespace: str, lost_node: str
) -> None:
    kubectl, node = cluster.kubectl, cluster.node(lost_node)
    kubectl.apply(pod("lost", namespace, template("sleep 600", pool="gpu-b", gpus=8)))
    kubectl.wait("pod", "lost", lambda found: found["status"]["phase"] == "Running", namespace=namespace)
    assert node.pods.pids()
    node.lose()
    assert not node.pods.pids()
    found = kubectl.wait("pod", "lost", lambda found: reason_of_disruption(found) != "", namespace=namespace)
    assert reason_of_disruption(found) == "DeletionByTaintManager"
    assert not has_condition(kubectl.get("node", lost_node), "Ready")
    assert found["metadata"]["deletionTimestamp"], "it stays Terminating until its node returns"
    node.bring_back()
    until("the pod to go", lambda: not kubectl.exists("pod", "lost", namespace), timeout=60)
    kubectl.apply(pod("after", namespace, template("true", pool="gpu-b", gpus=8)))
    assert ending(kubectl.wait("pod", "after", finished, namespace=namespace))["exitCode"] == 0


def test_restricted_pod_security_refuses_a_root_pod(cluster: Cluster, namespace: str) -> None:
    kubectl = cluster.kubectl
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    with pytest.raises(CommandError, match=r'violates PodSecurity "restricted:latest"') as refusal:
        kubectl.apply(pod("root", namespace, template("true", restricted=False)))
    assert "runAsNonRoot != true" in refusal.value.stderr
    kubectl.apply(pod("restricted", namespace, template("id -u")))
    kubectl.wait("pod", "restricted", finished, namespace=namespace)
    assert kubectl("logs", "restricted", "-n", namespace).strip() == "65532"


def test_what_rbac_and_node_authorization_deny_is_in_the_audit_log(cluster: Cluster, namespace: str) -> None:
    kubectl, position = cluster.kubectl, cluster.audit.position()
    kubectl("create", "secret", "generic", "secret", "-n", namespace)
    account = f"system:serviceaccount:{namespace}:default"
    kubelet = ("--as=system:node:gpu-a", "--as-group=system:nodes")
    for identity in ([f"--as={account}"], kubelet):
        with pytest.raises(CommandError, match="Forbidden"):
            kubectl("get", "secret", "secret", "-n", namespace, *identity)
    with pytest.raises(CommandError, match="node 'gpu-a' cannot read 'gpu-b', only its own Node object"):
        kubectl("label", "node", "gpu-b", "stolen=true", *kubelet)
    seen = {
        (request.verb, request.resource, request.name, request.code, request.allowed)
        for request in cluster.audit.requests(since=position)
        if request.namespace == namespace
    }
    assert ("create", "secrets", "secret", 201, True) in seen
    assert ("get", "secrets", "secret", 403, False) in seen


def unschedulable_for(reason: str) -> Callable[[Object], bool]:
    """Whether the scheduler says of a pod that it has no node for it, and why."""

    def check(found: Object) -> bool:
        conditions = found["status"].get("conditions", [])
        return any(entry.get("reason") == "Unschedulable" and reason in entry["message"] for entry in conditions)

    return check


def reason_of_disruption(found: Object) -> str:
    """Why a pod is disrupted; empty where it is not."""
    conditions = found["status"].get("conditions", [])
    return next((entry["reason"] for entry in conditions if entry["type"] == "DisruptionTarget"), "")

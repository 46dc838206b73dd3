"""What an administrator gets wrong in the chart's values, and what helm says of it; and what the chart is packed of."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from deployment.rendering import CHART, helm, refusal

REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a value that there is not": ({"replicaCount": 2}, ["'replicaCount' not allowed"]),
    "a typo in an image": ({"image": {"repo": "x"}}, ["/image", "'repo' not allowed"]),
    "a typo in the trainer": ({"trainer": {"runAsUsr": 1}}, ["/trainer", "'runAsUsr' not allowed"]),
    "a typo in the trainer's image": ({"trainer": {"image": {"tagg": "1"}}}, ["/trainer/image", "'tagg' not allowed"]),
    "a typo in a pool": ({"pools": {"h100": {"nodeSelektor": {}}}}, ["/pools/h100", "'nodeSelektor' not allowed"]),
    "a typo in the default pool": ({"defaultPool": {"gpus": 8}}, ["/defaultPool", "'gpus' not allowed"]),
    "a typo in a toleration": (
        {"pools": {"h100": {"tolerations": [{"keys": "x"}]}}},
        ["/pools/h100/tolerations/0", "'keys' not allowed"],
    ),
    "a typo in an election": ({"leaderElection": {"leaseSecond": 9}}, ["/leaderElection", "'leaseSecond' not allowed"]),
    "a typo in progress": ({"progress": {"enable": True}}, ["/progress", "'enable' not allowed"]),
    "a typo in an account": ({"serviceAccount": {"nam": "x"}}, ["/serviceAccount", "'nam' not allowed"]),
    "a typo in resources": ({"resources": {"request": {}}}, ["/resources", "'request' not allowed"]),
    "a typo in an affinity": ({"affinity": {"podAntiAfinity": {}}}, ["/affinity", "'podAntiAfinity' not allowed"]),
    "a typo in a policy": ({"networkPolicy": {"ports": [1]}}, ["/networkPolicy", "'ports' not allowed"]),
    "a typo in a monitor": ({"serviceMonitor": {"enable": True}}, ["/serviceMonitor", "'enable' not allowed"]),
    "a pool by a name that no job can write": ({"pools": {"H100": {}}}, ["'H100'"]),
    "a pool by a name that is too long": ({"pools": {"p" * 41: {}}}, ["maxLength: got 41, want 40"]),
    "pools as a list": ({"pools": [{"name": "h100"}]}, ["/pools", "got array, want object"]),
    "a quantity in words": ({"pools": {"a": {"memory": "much"}}}, ["/pools/a/memory", "'much'"]),
    "a quantity in an unknown unit": ({"pools": {"a": {"memory": "8GB"}}}, ["/pools/a/memory", "'8GB'"]),
    "a quantity below zero": ({"pools": {"a": {"cpu": -1}}}, ["/pools/a/cpu", "got -1"]),
    "a part of a core as a number": ({"pools": {"a": {"cpu": 0.5}}}, ["/pools/a/cpu", "got number"]),
    "a label that is no text": ({"pools": {"a": {"nodeSelector": {"gpu": True}}}}, ["/pools/a/nodeSelector/gpu"]),
    "an effect that there is not": (
        {"pools": {"a": {"tolerations": [{"effect": "NoShedule"}]}}},
        ["/pools/a/tolerations/0/effect", "'NoSchedule'"],
    ),
    "a queue that is no text": ({"pools": {"a": {"queue": 1}}}, ["/pools/a/queue", "got number"]),
    "shared memory in words": ({"trainer": {"sharedMemory": "lots"}}, ["/trainer/sharedMemory", "'lots'"]),
    "stages as root": ({"trainer": {"runAsUser": 0}}, ["/trainer/runAsUser", "got 0, want 1"]),
    "a group in words": ({"trainer": {"fsGroup": "users"}}, ["/trainer/fsGroup", "got string"]),
    "a policy of pulling that there is not": (
        {"image": {"pullPolicy": "Sometimes"}},
        ["/image/pullPolicy", "'IfNotPresent'"],
    ),
    "a tag that YAML reads as a number": ({"image": {"tag": 1.2}}, ["/image/tag", "got number"]),
    "a digest that is none": ({"image": {"digest": "latest"}}, ["/image/digest", "'latest'"]),
    "a secret by its bare name": ({"imagePullSecrets": ["registry"]}, ["/imagePullSecrets/0", "got string"]),
    "several namespaces": ({"watchNamespace": "a,b"}, ["/watchNamespace", "'a,b'"]),
    "fewer than no replicas": ({"replicas": -1}, ["/replicas", "got -1"]),
    "replicas in words": ({"replicas": "two"}, ["/replicas", "got string"]),
    "nobody who works": ({"workers": 0}, ["/workers", "got 0, want 1"]),
    "a look without a pause": ({"resyncSeconds": 1}, ["/resyncSeconds", "got 1, want 10"]),
    "a lease too short": ({"leaderElection": {"leaseSeconds": 1}}, ["/leaderElection/leaseSeconds", "got 1, want 3"]),
    "a lease that runs out between renewals": (
        {"leaderElection": {"leaseSeconds": 15, "renewSeconds": 10}},
        ["leaderElection.renewSeconds: 10 is more than half of leaseSeconds (15)"],
    ),
    "a level that there is not": ({"logLevel": "trace"}, ["/logLevel", "'debug'"]),
    "an account that is neither made nor named": (
        {"serviceAccount": {"create": False}},
        ["serviceAccount.name", "serviceAccount.create"],
    ),
    "no way to the API server": (
        {"networkPolicy": {"apiServerPorts": []}},
        ["/networkPolicy/apiServerPorts", "got 0, want 1"],
    ),
    "a port that there is not": (
        {"networkPolicy": {"apiServerPorts": [70000]}},
        ["/networkPolicy/apiServerPorts/0", "70"],
    ),
    "an interval without a unit": (
        {"serviceMonitor": {"interval": "30"}},
        ["/serviceMonitor/interval", "'30'"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_helm_refuses(case: str) -> None:
    values, said = REFUSED[case]
    message = refusal(values)
    assert [text for text in said if text not in message] == [], message


@pytest.mark.parametrize("values", [[], ["--values", str(CHART / "ci" / "local-values.yaml")]], ids=["none", "local"])
def test_helm_lints_the_chart_without_a_complaint(values: list[str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, *values)


def test_the_package_holds_the_definition_itself_and_no_values_of_ours(tmp_path: Path) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("branchmerge-*.tgz")
    (definition,) = (CHART.parents[1] / "crds").glob("*.yaml")
    with tarfile.open(archive) as packed:
        member = packed.getmember(f"branchmerge/crds/{definition.name}")
        file = packed.extractfile(member)
        assert member.isreg()
        assert file is not None
        assert file.read() == definition.read_bytes()
        assert [name for name in packed.getnames() if "/ci/" in name] == []

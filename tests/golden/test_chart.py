"""The chart as it is installed, rendered by the real helm. Written anew by `make golden`."""

import json
from pathlib import Path
from typing import Any

import pytest

from branchmerge.kube.settings import LeaderElection, OperatorSettings, Pool
from deployment.rendering import Object, find, objects, rendered
from goldenfile import assert_as_before

FOLDER = Path(__file__).parent / "chart"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"

EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "image": {"repository": "registry.example/operator", "digest": DIGEST, "pullPolicy": "Always"},
    "trainer": {
        "image": {"repository": "registry.example/trainer", "tag": "1.2", "pullPolicy": "Always"},
        "runAsUser": 1_000_000_000,
        "fsGroup": 2000,
        "sharedMemory": "64Gi",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "pools": {
        "h100": {
            "nodeSelector": {"pool": "h100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "resourceName": "nvidia.com/gpu",
            "queue": "training",
            "acceleratorMemory": "80Gi",
            "runtimeClass": "nvidia",
            "cpu": 64,
            "memory": "900Gi",
        },
        "cpu-large": {"cpu": "1500m"},
    },
    "defaultPool": {"nodeSelector": {"pool": "cpu"}},
    "workers": 32,
    "resyncSeconds": 60,
    "leaderElection": {"leaseSeconds": 30, "renewSeconds": 10},
    "logLevel": "debug",
    "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
    "serviceAccount": {"name": "distiller", "annotations": {"example.com/role": "distiller"}},
    "podLabels": {"team": "platform"},
    "podAnnotations": {"example.com/scrape": "no"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "control-plane", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
    "networkPolicy": {"apiServerPorts": [6443]},
    "serviceMonitor": {"enabled": True, "interval": "1m30s", "labels": {"release": "prometheus"}},
}

CASES: dict[str, dict[str, Any]] = {
    "all namespaces": {},
    "one namespace": {"watchNamespace": "team"},
    "one namespace with progress": {"watchNamespace": "team", "progress": {"enabled": True}},
    "everything": EVERYTHING,
}


def settings_of(values: dict[str, Any], release: str = "branchmerge") -> OperatorSettings:
    """What the operator is told at its start."""
    config = find(objects(values, release=release), "ConfigMap")
    return OperatorSettings.model_validate(json.loads(config["data"]["settings.json"]))


@pytest.mark.parametrize("case", CASES)
def test_the_release_is_as_it_was(case: str) -> None:
    assert_as_before(FOLDER, case, rendered(CASES[case]))


def test_without_values_the_operator_is_told_its_own_defaults() -> None:
    assert settings_of({}) == OperatorSettings(
        trainer_image="ghcr.io/branchmerge/trainer:0.1.0",
        progress_url="http://branchmerge.branchmerge-system.svc:8080/progress",
        leader_election=LeaderElection(lease_name="branchmerge"),
    )


def test_every_value_for_the_operator_reaches_it() -> None:
    pools = {name: Pool.model_validate(pool) for name, pool in EVERYTHING["pools"].items()}
    assert pools["h100"].cpu == "64"
    assert settings_of(EVERYTHING) == OperatorSettings(
        pools=pools,
        default_pool=Pool(node_selector={"pool": "cpu"}),
        trainer_image="registry.example/trainer:1.2",
        image_pull_policy="Always",
        image_pull_secrets=["registry"],
        run_as_user=1_000_000_000,
        fs_group=2000,
        shared_memory="64Gi",
        progress_url="http://branchmerge.branchmerge-system.svc:8080/progress",
        leader_election=LeaderElection(lease_name="branchmerge", lease_seconds=30, renew_seconds=10),
        workers=32,
        resync_seconds=60,
    )


def test_one_namespace_is_watched_without_a_right_or_an_object_beyond_it() -> None:
    release = objects({"watchNamespace": "team"})
    assert {each["kind"] for each in release if each["metadata"].get("namespace") is None} == set()
    assert {each["metadata"]["namespace"] for each in release} == {"branchmerge-system", "team"}
    assert {each["kind"] for each in release if each["metadata"]["namespace"] == "team"} == {"Role", "RoleBinding"}
    settings = settings_of({"watchNamespace": "team"})
    assert (settings.watch_namespace, settings.progress_url) == ("team", None)


def test_progress_of_one_namespace_takes_the_review_of_tokens_and_nothing_else() -> None:
    release = objects({"watchNamespace": "team", "progress": {"enabled": True}})
    beyond = [each for each in release if each["metadata"].get("namespace") is None]
    assert {each["kind"] for each in beyond} == {"ClusterRole", "ClusterRoleBinding"}
    (rule,) = find(beyond, "ClusterRole", "branchmerge-progress")["rules"]
    assert rule == {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}


def test_progress_can_be_switched_off() -> None:
    off = {"progress": {"enabled": False}}
    assert settings_of(off).progress_url is None
    assert "tokenreviews" not in rendered(off)


def test_a_changed_setting_starts_the_pods_anew_and_an_unchanged_one_does_not() -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = find(objects(values), "Deployment")["spec"]["template"]
        text: str = template["metadata"]["annotations"]["checksum/settings"]
        return text

    assert checksum({}) == checksum({"podLabels": {"team": "platform"}})
    assert checksum({}) != checksum({"workers": 9})


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("branchmerge", "branchmerge"),
        ("prod-branchmerge", "prod-branchmerge"),
        ("prod", "prod-branchmerge"),
        ("p" * 53, f"{'p' * 53}-branchmer"),
    ],
)
def test_everything_is_named_after_the_release(release: str, name: str) -> None:
    made = objects({}, release=release)
    assert find(made, "Service", name)
    assert {each["metadata"]["name"] for each in made if each["kind"] == "Deployment"} == {name}
    assert max(len(each["metadata"]["name"]) for each in made if each["kind"] in {"Pod", "Service"}) <= 63


def test_an_account_that_is_there_already_is_used_and_not_made() -> None:
    made = objects({"serviceAccount": {"create": False, "name": "own"}})
    assert "ServiceAccount" not in {each["kind"] for each in made}
    assert {subject["name"] for each in made for subject in each.get("subjects", [])} == {"own"}
    assert pod_of(made)["serviceAccountName"] == "own"


def test_the_pod_of_the_test_is_no_endpoint_of_the_service() -> None:
    made = objects({})
    selector = find(made, "Service")["spec"]["selector"]
    labels = find(made, "Pod", "branchmerge-test")["metadata"]["labels"]
    assert not selector.items() <= labels.items()
    assert selector.items() <= find(made, "Deployment")["spec"]["template"]["metadata"]["labels"].items()


def test_constraints_of_the_user_replace_those_of_the_chart() -> None:
    own = {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    made = objects({"replicas": 3, "topologySpreadConstraints": [own]})
    assert pod_of(made)["topologySpreadConstraints"] == [own]


def pod_of(made: list[Object]) -> Object:
    """The spec of the operator's pods."""
    spec: Object = find(made, "Deployment")["spec"]["template"]["spec"]
    return spec

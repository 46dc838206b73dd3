"""What the chart makes, for a real API server: valid, *restricted*, and with the rights that it says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import yaml

from deployment.rendering import CHART, helm, objects
from deployment.workspace import RESTRICTED
from localcluster.controlplane import ControlPlane
from localcluster.kubectl import Kubectl
from localcluster.reading import Object
from localcluster.shell import CommandError
from localcluster.waiting import until

DEFINITION = "distillationjobs.branchmerge.dev"
TOKEN_REVIEWS = "tokenreviews.authentication.k8s.io"
TWO = {"replicas": 2}
OPERATOR = "branchmerge"


@pytest.fixture(scope="module")
def kubectl(api_only_cluster: ControlPlane) -> Kubectl:
    return api_only_cluster.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace where *restricted* Pod Security is enforced."""
    name = f"chart-{uuid4().hex[:8]}"
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def installed(kubectl: Kubectl, namespace: str, values: dict[str, Any]) -> Iterator[None]:
    """A release; there are no nodes, so nothing is waited for, and nothing can run after it."""
    values = {**values, "releaseJobsOnUninstall": False}
    place = ["--kubeconfig", str(kubectl.kubeconfig), "--namespace", namespace]
    helm("install", OPERATOR, CHART, *place, "--values", "-", stdin=yaml.safe_dump(values))
    try:
        yield
    finally:
        helm("uninstall", OPERATOR, *place)


def may(kubectl: Kubectl, user: str, verb: str, what: str, namespace: str = "") -> bool:
    """Whether a user has a right (`what`: resource[.group][/name]) in a namespace, or without one everywhere."""
    resource, _, name = what.partition("/")
    plural, _, group = resource.partition(".")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": asked},
    }
    answer = json.loads(kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review)))
    allowed: bool = answer["status"]["allowed"]
    return allowed


def account(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:{OPERATOR}"


def pods(values: dict[str, Any]) -> list[Object]:
    """The operator's pod, the test's and that after an uninstall, without their accounts, which are not there yet."""
    made = objects(values)
    specs = [each["spec"]["template"]["spec"] for each in made if each["kind"] in {"Deployment", "Job"}]
    specs += [each["spec"] for each in made if each["kind"] == "Pod"]
    assert len(specs) == 3
    return [{**spec, "serviceAccountName": "default"} for spec in specs]


@pytest.mark.parametrize("values", [{}, {"watchNamespace": "default"}, TWO], ids=["all", "one namespace", "two"])
def test_every_object_is_valid_to_the_letter(kubectl: Kubectl, namespace: str, values: dict[str, Any]) -> None:
    made = [each | {"metadata": {**each["metadata"], "namespace": namespace}} for each in objects(values)]
    together = {"apiVersion": "v1", "kind": "List", "items": [each for each in made if each["kind"] != "Pod"]}
    told = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(together))
    assert len(told.splitlines()) == len(together["items"])


def test_every_pod_is_restricted(kubectl: Kubectl, namespace: str) -> None:
    for number, spec in enumerate(pods(TWO)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}", "namespace": namespace}}
        kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod | {"spec": spec}))
        spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")
        with pytest.raises(CommandError, match="violates PodSecurity"):
            kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod | {"spec": spec}))


def test_in_one_namespace_the_operator_has_no_right_elsewhere(kubectl: Kubectl, namespace: str) -> None:
    with installed(kubectl, namespace, {"watchNamespace": "default"}):
        until("the right", lambda: may(kubectl, account(namespace), "list", "pods", "default"), timeout=30)
        for place in ("kube-system", namespace, ""):
            for resource in ("pods", "jobs.batch", DEFINITION, "secrets"):
                assert not may(kubectl, account(namespace), "list", resource, place), (resource, place)
        assert not may(kubectl, account(namespace), "create", TOKEN_REVIEWS)
        assert may(kubectl, account(namespace), "update", "leases.coordination.k8s.io/branchmerge", namespace)


def test_everywhere_the_operator_may_do_what_it_does_and_read_no_secret(kubectl: Kubectl, namespace: str) -> None:
    with installed(kubectl, namespace, {}):
        until("the right", lambda: may(kubectl, account(namespace), "list", "pods"), timeout=30)
        assert may(kubectl, account(namespace), "create", TOKEN_REVIEWS)
        for verb, resource in (("get", "secrets"), ("list", "secrets"), ("create", "pods"), ("create", DEFINITION)):
            assert not may(kubectl, account(namespace), verb, resource), (verb, resource)


def test_whoever_may_edit_a_namespace_may_edit_its_jobs(kubectl: Kubectl, namespace: str) -> None:
    for role in ("view", "edit"):
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", namespace)
    with installed(kubectl, namespace, {}):
        until("the right", lambda: may(kubectl, "editer", "create", DEFINITION, namespace), timeout=30)
        until("the right", lambda: may(kubectl, "viewer", "list", DEFINITION, namespace), timeout=30)
        assert not may(kubectl, "viewer", "create", DEFINITION, namespace)
        assert not may(kubectl, "editer", "create", DEFINITION, "default")


def test_the_definition_of_an_older_chart_is_brought_up_to_date(kubectl: Kubectl, namespace: str) -> None:
    with installed(kubectl, namespace, {}):
        patch = {"spec": {"names": {"shortNames": ["old"]}}}
        kubectl("patch", "crd", DEFINITION, "--type=merge", "-p", json.dumps(patch))
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=helm("show", "crds", CHART))
        assert kubectl.get("crd", DEFINITION)["spec"]["names"]["shortNames"] == ["dj", "distill"]


def test_uninstalling_leaves_the_definition_and_nothing_else(kubectl: Kubectl, namespace: str) -> None:
    with installed(kubectl, namespace, TWO):
        assert kubectl.exists("deployment", OPERATOR, namespace)
    kinds = "deployment,service,configmap,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget"
    left = kubectl("get", f"{kinds},clusterrole,clusterrolebinding", "-n", namespace, "-o", "name").split()
    assert [name for name in left if OPERATOR in name] == []
    assert kubectl.exists("crd", DEFINITION)

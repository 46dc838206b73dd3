"""What a cluster has besides nodes: DNS, and the Kubeflow training operator."""

from functools import cache

import yaml

from localcluster.build import COREDNS, KUBERNETES, TRAINING_OPERATOR
from localcluster.images import DOCKERFILES, Image
from localcluster.kubectl import Kubectl
from localcluster.pki import Pki
from localcluster.reading import Object
from localcluster.shell import run

OPERATOR_NAMESPACE = "kubeflow"
COREFILE = """\
cluster.local in-addr.arpa ip6.arpa {
    errors
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    prometheus :9153
}
. {
    errors
    health
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""
PROMPT_PROBE = {"initialDelaySeconds": 0, "periodSeconds": 1}
ROLLOUT_TIMEOUT_SECONDS = 120


def dns_image() -> Image:
    """CoreDNS."""
    program = {"coredns": COREDNS.program("coredns")}
    return Image("localhost/branchmerge/coredns:latest", DOCKERFILES / "coredns.Dockerfile", program)


def install_dns(admin: Kubectl, pki: Pki) -> None:
    """Install CoreDNS as kubeadm does, but for names of the cluster only.

    There is no other DNS server to ask from within a cluster, so any other name is answered at once: it does not exist.
    """
    objects = pki.dns_manifests()
    for subject in objects:
        if subject["kind"] == "ConfigMap":
            subject["data"]["Corefile"] = COREFILE
        if subject["kind"] == "Deployment":
            subject["spec"]["replicas"] = 1
            _made_here(subject)
    admin.apply(*objects)


def wait_for_dns(admin: Kubectl) -> None:
    """Return when DNS answers."""
    _wait_for_rollout(admin, "kube-system", "coredns")


def training_operator_image() -> Image:
    """The training operator, under the name that its own manifests give to its image."""
    name = _containers(_deployment(_training_operator_objects()))[0]["image"]
    program = {"manager": TRAINING_OPERATOR.program("manager")}
    return Image(name, DOCKERFILES / "training-operator.Dockerfile", program)


def install_training_operator(admin: Kubectl) -> None:
    """Install the training operator, from the manifests of its own release."""
    objects = _training_operator_objects()
    _made_here(_deployment(objects))
    # Namespaces and definitions first: an object of a namespace that is not there yet is refused.
    early = [subject for subject in objects if subject["kind"] in {"Namespace", "CustomResourceDefinition"}]
    admin.apply(*early)
    admin.apply(*(subject for subject in objects if subject not in early))


def wait_for_training_operator(admin: Kubectl) -> None:
    """Return when the training operator and its webhook answer."""
    _wait_for_rollout(admin, OPERATOR_NAMESPACE, "training-operator")


def _training_operator_objects() -> list[Object]:
    return list(
        yaml.load_all(_training_operator_manifests(), Loader=yaml.CSafeLoader)
    )  # a megabyte: too much for Python's


@cache
def _training_operator_manifests() -> str:
    return run(
        [KUBERNETES.program("kubectl"), "kustomize", TRAINING_OPERATOR.folder() / "manifests/overlays/standalone"]
    )


def _deployment(objects: list[Object]) -> Object:
    return next(subject for subject in objects if subject["kind"] == "Deployment")


def _containers(deployment: Object) -> list[Object]:
    containers: list[Object] = deployment["spec"]["template"]["spec"]["containers"]
    return containers


def _made_here(deployment: Object) -> None:
    """Take the image that was loaded, and learn within a second that a container is ready."""
    for container in _containers(deployment):
        container["imagePullPolicy"] = "Never"
        container["readinessProbe"].update(PROMPT_PROBE)


def _wait_for_rollout(admin: Kubectl, namespace: str, deployment: str) -> None:
    limit = f"--timeout={ROLLOUT_TIMEOUT_SECONDS}s"
    admin("rollout", "status", f"deployment/{deployment}", "-n", namespace, limit, timeout=ROLLOUT_TIMEOUT_SECONDS + 10)

"""The sandbox holds in a pod under the restricted Pod Security Standard, with the seccomp profile of its runtime."""

import json
from pathlib import Path

import pytest

from attacks import ACCOUNT_TOKEN, ATTACKS
from capabilities import speaking
from deployment.images import CLONE
from localcluster.cluster import Cluster
from localcluster.images import Image
from localcluster.kubectl import Object
from localcluster.standins import base_image
from workloads import ending, finished, pod, template

TRAINER = CLONE / "trainer-image" / "branchmerge_trainer"
FILTERED, NO_NEW_PRIVILEGES = "2", "1"


def attacks_image() -> Image:
    base = base_image()
    context = {
        "branchmerge_trainer/__init__.py": TRAINER / "__init__.py",
        "branchmerge_trainer/sandbox": TRAINER / "sandbox",
        "attacks.py": CLONE / "tests" / "attacks.py",
    }
    dockerfile = Path(__file__).with_name("sandbox.Dockerfile")
    return Image("localhost/branchmerge/attacks:dev", dockerfile, context, {"PYTHON_IMAGE": base.name}, bases=(base,))


@pytest.fixture
def image(cluster: Cluster, request: pytest.FixtureRequest) -> Image:
    image = attacks_image()
    with speaking(request):
        cluster.load(image, nodes=["cpu"])
    return image


def attacked_pod(namespace: str, image: Image) -> Object:
    """As the operator makes them: an image that cannot be written to, and a folder that can."""
    spec = template("", memory="1Gi")
    spec["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    (container,) = spec["containers"]
    del container["command"]
    container |= {"image": image.name, "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}
    container["securityContext"] |= {"readOnlyRootFilesystem": True}
    return pod("attacked", namespace, spec)


def test_nothing_gets_out_of_the_sandbox_in_a_restricted_pod(cluster: Cluster, namespace: str, image: Image) -> None:
    kubectl = cluster.kubectl
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    kubectl.apply(attacked_pod(namespace, image))
    found = kubectl.wait("pod", "attacked", finished, namespace=namespace, timeout=200)
    log = kubectl("logs", "attacked", "-n", namespace)
    assert ending(found)["exitCode"] == 0, log
    *endings, summary = map(json.loads, log.splitlines())
    assert [one["attack"] for one in endings] == [attack.name for attack in ATTACKS]
    assert [one["problem"] for one in endings if one["problem"]] == []
    assert summary["isolated"]
    assert summary["user"] == 65532
    assert summary["token"] == str(ACCOUNT_TOKEN), "it has one, and reads it itself"
    assert (summary["seccomp"], summary["no_new_privileges"]) == (FILTERED, NO_NEW_PRIVILEGES)
    assert summary["precious"] == "precious"
    assert summary["left"] == ["precious", "precious-2", "precious-3", "socket"]

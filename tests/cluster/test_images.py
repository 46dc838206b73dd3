"""Images are built from Dockerfiles on this machine, once, and run on the nodes that they are loaded on."""

from pathlib import Path

import pytest

from localcluster.cluster import Cluster
from localcluster.images import Image
from localcluster.standins import base_image
from workloads import ending, finished, pod, template

DOCKERFILE = """\
FROM localhost/branchmerge/base:latest
ARG GREETING
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir 'six==1.17.0'
COPY app /app
RUN echo "${GREETING}" > /greeting
USER 65532
CMD ["/venv/bin/python", "/app/main.py"]
"""
MAIN = """\
import pathlib, six
print(pathlib.Path("/greeting").read_text().strip(), "from six", six.__version__)
"""


@pytest.fixture
def image(cluster: Cluster, tmp_path: Path) -> Image:
    """An image that is built."""
    image = greeter(tmp_path, greeting="hello")
    image.archive()
    return image


def test_an_image_of_a_dockerfile_runs_in_a_pod(cluster: Cluster, namespace: str, image: Image) -> None:
    cluster.load(image, nodes=["cpu"])
    spec = template("", pool="cpu")
    spec["containers"][0] |= {"image": image.name, "command": None}
    cluster.kubectl.apply(pod("greeter", namespace, spec))
    found = cluster.kubectl.wait("pod", "greeter", finished, namespace=namespace)
    assert ending(found)["exitCode"] == 0
    assert cluster.kubectl("logs", "greeter", "-n", namespace) == "hello from six 1.17.0\n"
    assert image.name in cluster.node("cpu").ctr("images", "list", "--quiet").split()
    assert image.name not in cluster.node("gpu-a").ctr("images", "list", "--quiet").split()


def test_an_image_is_built_anew_only_where_something_changed(tmp_path: Path) -> None:
    image = greeter(tmp_path, greeting="hello")
    assert greeter(tmp_path, greeting="hello").key == image.key
    assert greeter(tmp_path, greeting="good day").key != image.key
    (tmp_path / "app" / "__pycache__").mkdir()
    (tmp_path / "app" / "__pycache__" / "main.pyc").write_bytes(b"")
    assert greeter(tmp_path, greeting="hello").key == image.key
    (tmp_path / "app" / "more.py").touch()
    assert Image(image.name, image.dockerfile, image.context, image.arguments, image.bases).key != image.key


def greeter(folder: Path, *, greeting: str) -> Image:
    """An image with a package from PyPI, a program and a build argument."""
    app = folder / "app"
    app.mkdir(exist_ok=True)
    (app / "main.py").write_text(MAIN)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(DOCKERFILE)
    return Image(
        "localhost/branchmerge/greeter:test",
        dockerfile,
        {"app": app},
        {"GREETING": greeting},
        bases=(base_image(),),
        registries=True,
    )

"""Images that stand in for public ones, which are never pulled."""

from localcluster.build import PAUSE
from localcluster.debian import root_filesystem
from localcluster.images import DOCKERFILES, Image

SHELL_PACKAGES = ("busybox", "dash", "libc-bin", "libc6")
PYTHON_PACKAGES = (
    "ca-certificates",
    "libgomp1",
    "libstdc++6",
    "passwd",
    "python-is-python3",
    "python3",
    "python3-venv",
)


def pause_image() -> Image:
    """What holds the namespaces of a pod."""
    return Image(
        "localhost/branchmerge/pause:latest", DOCKERFILES / "pause.Dockerfile", {"pause": PAUSE.program("pause")}
    )


def alpine_image() -> Image:
    """A shell and the usual commands, in a few megabytes."""
    context = {"root.tar": root_filesystem("extract", SHELL_PACKAGES), "nslookup": DOCKERFILES / "nslookup"}
    return Image("docker.io/library/alpine:3.10", DOCKERFILES / "alpine.Dockerfile", context)


def base_image() -> Image:
    """Debian 12 with Python 3.11: name it in the FROM line of a Dockerfile, and give it as one of the `bases`."""
    context = {"base.tar": root_filesystem("essential", PYTHON_PACKAGES)}
    return Image("localhost/branchmerge/base:latest", DOCKERFILES / "base.Dockerfile", context)

"""What this machine can run, and the Debian packages that nodes take."""

import os
import shutil
import sys
from pathlib import Path

from localcluster.errors import CannotRunError
from localcluster.progress import step
from localcluster.shell import run

PACKAGES = {  # a command that the package brings -> the package
    "buildah": "buildah",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "iptables": "iptables",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "runc": "runc",
}
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGIN = "ptp"
INSTALL_TIMEOUT_SECONDS = 900


def require_nodes() -> None:
    """Make sure that this machine can run nodes; missing Debian packages are installed.

    Raises:
        CannotRunError: it cannot, and the message says why.
    """
    if sys.platform != "linux":
        raise CannotRunError(f"platform {sys.platform}: nodes of a cluster need Linux; run this on a Linux machine")
    if os.geteuid() != 0:
        raise CannotRunError(f"user id {os.geteuid()}: nodes of a cluster need root; run this as root (`sudo make …`)")
    missing = missing_packages()
    if missing and not shutil.which("apt-get"):
        raise CannotRunError(f"{', '.join(missing)}: not installed, and there is no apt-get to do it; install them")
    if missing:
        install(missing)


def missing_packages() -> list[str]:
    """The Debian packages whose commands this machine lacks."""
    missing = {package for command, package in PACKAGES.items() if not shutil.which(command)}
    if not any((folder / CNI_PLUGIN).exists() for folder in CNI_FOLDERS):
        missing.add(CNI_PACKAGE)
    return sorted(missing)


def install(packages: list[str]) -> None:
    """Install Debian packages."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian packages: {' '.join(packages)}"):
        run(["apt-get", "update", "-q"], env=env, timeout=INSTALL_TIMEOUT_SECONDS)
        argv = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        run(argv, env=env, timeout=INSTALL_TIMEOUT_SECONDS)


def cni_plugins() -> Path:
    """The folder of the CNI plugins."""
    return next(folder for folder in CNI_FOLDERS if (folder / CNI_PLUGIN).exists())

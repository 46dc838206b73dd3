"""An API server with etcd and the controller manager: all of Kubernetes that needs no node, no root and no container.

Definitions, CEL rules, RBAC, watches, garbage collection and the Job controller are real. Pods stay Pending.
"""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.controlplane import ControlPlane
from localcluster.daemons import as_it_is

LOOPBACK = "127.0.0.1"
UNUSED = "198.19.0.1"  # there are no pods to tell it to
SERVICES = "198.18.0.0/16"


@contextmanager
def api_only() -> Iterator[ControlPlane]:
    """A control plane without nodes, which ends with the block, and with this process however that ends.

    Raises:
        CannotRunError: this machine has not what it takes to build one.
        ClusterError: a part of it did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="branchmerge-api-"))
    plane = ControlPlane(folder, LOOPBACK, UNUSED, _free_port(), SERVICES, wrap=_ends_with_us, nodes=False)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(folder)


def _ends_with_us(argv: list[str]) -> list[str]:
    """A command that the kernel kills when we die (on Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv] if setpriv else as_it_is(argv)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port

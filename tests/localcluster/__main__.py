"""`python -m localcluster up|down|status`: a real Kubernetes cluster on this machine."""

import argparse
import os
import sys
from pathlib import Path

from localcluster.cleanup import remains
from localcluster.cluster import Cluster
from localcluster.errors import CannotRunError, ClusterError
from localcluster.files import write_whole
from localcluster.lock import machine_lock
from localcluster.progress import say
from localcluster.topology import TOPOLOGIES

CLONE = Path(__file__).parents[2]
USAGE_ERROR = 64


def main(argv: list[str]) -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="localcluster", description="A real Kubernetes cluster on this machine.")
    parser.add_argument("command", choices=COMMANDS, help="bring it up (harmless where it is), end it, or look at it")
    sizes = "full: a CPU node and two nodes with GPUs, training operator; small: a CPU node"
    parser.add_argument("--size", choices=TOPOLOGIES, default="full", help=f"{sizes} (default: full)")
    options = parser.parse_args(argv)
    cluster = Cluster(TOPOLOGIES[options.size])
    try:
        return COMMANDS[options.command](cluster)
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1


def up(cluster: Cluster) -> int:
    """Bring it up, and print the line that makes kubectl use it."""
    with machine_lock(cluster.topology.name) as lock:
        lock.alone()
        started = cluster.up(keep=True)
        say(f"{cluster.topology.name} is up" if started else f"{cluster.topology.name} was up already")
        print(f"export KUBECONFIG={write_kubeconfig(cluster)}")
    return 0


def down(cluster: Cluster) -> int:
    """End it, and leave nothing of it."""
    with machine_lock(cluster.topology.name) as lock:
        lock.alone()
        cluster.down()
        kubeconfig_of(cluster).unlink(missing_ok=True)
    return 0


def status(cluster: Cluster) -> int:
    """Print its nodes; exit code 1 where it is not up."""
    if cluster.usable():
        print(cluster.kubectl("get", "nodes", "-o", "wide"), end="")
        return 0
    print(
        "\n".join([f"{cluster.topology.name} is not up", *(f"left over: {what}" for what in remains(cluster.topology))])
    )
    return 1


def kubeconfig_of(cluster: Cluster) -> Path:
    """Where its kubeconfig is kept in this clone."""
    small = "" if cluster.topology is TOPOLOGIES["full"] else f"-{cluster.topology.name}"
    return CLONE / ".cluster" / f"kubeconfig{small}"


def write_kubeconfig(cluster: Cluster) -> Path:
    """Write its kubeconfig into this clone, readable by this user alone."""
    file = kubeconfig_of(cluster)
    write_whole(file, cluster.kubeconfig.read_text(), mode=0o600)
    return file


COMMANDS = {"up": up, "down": down, "status": status}

if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))

"""`python -m deployment up|down`: the operator on a real cluster on this machine, and the mini job's data."""

import argparse
import shutil
import subprocess
import sys

from deployment.images import CLONE, operator_image, trainer_image
from deployment.mini import BUILT, make_mini
from deployment.release import Release
from deployment.workspace import hand_over, prepare
from localcluster.__main__ import USAGE_ERROR, down, up
from localcluster.cluster import Cluster
from localcluster.errors import CannotRunError, ClusterError
from localcluster.progress import step
from localcluster.topology import FULL

WORKSPACE = CLONE / ".cluster" / "workspace"
NAMESPACE = "mini"


def main(argv: list[str]) -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="deployment", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    options = parser.parse_args(argv)
    try:
        return COMMANDS[options.command](Cluster(FULL))
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    except (ClusterError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1


def install(cluster: Cluster) -> int:
    """Bring the cluster up with the operator in it; harmless where it is there. Prints what to type next."""
    up(cluster)
    with step("loading the operator's and the trainer's image", hint="gigabytes: minutes, once"):
        cluster.load(operator_image(), nodes=["cpu"])
        cluster.load(trainer_image())
    with step("installing the operator"):
        Release(cluster.kubectl).install()
    make_mini()
    _bring_mini()
    prepare(cluster.kubectl, NAMESPACE, WORKSPACE)
    print(
        f"kubectl apply -n {NAMESPACE} -f examples/mini/distillation.yaml\n"
        f"kubectl get distillationjobs -n {NAMESPACE} -w     # outputs: {WORKSPACE / 'mini'}"
    )
    return 0


def remove(cluster: Cluster) -> int:
    """End the cluster; what jobs wrote stays."""
    return down(cluster)


def _bring_mini() -> None:
    there = WORKSPACE / "mini" / "build"
    if not there.exists():
        shutil.copytree(BUILT, there)
    hand_over(WORKSPACE / "mini")


COMMANDS = {"up": install, "down": remove}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

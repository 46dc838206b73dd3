"""The miniature of `examples/mini`, from `kubectl apply` to its verdict, with the real trainer in real pods."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from capabilities import speaking
from deployment.bench import ON_GPU_NODES, Bench, operated
from deployment.images import operator_image, trainer_image
from deployment.mini import MINI, make_mini
from localcluster.cache import cache_root
from localcluster.cluster import Cluster
from localcluster.topology import POOL_LABEL

TWO_NODES = "math"
"""The branch that trains on two nodes."""
DOMAINS = ("math", "coding", "science")
PATIENCE_SECONDS = 900

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS + 300, func_only=True)


@pytest.fixture(scope="module")
def inputs(request: pytest.FixtureRequest) -> Path:
    """Student, data and suites, as `make.py` makes them; kept outside the clone."""
    folder = cache_root() / "mini"
    with speaking(request):
        make_mini(folder)
    return folder


@pytest.fixture(scope="module")
def mini(
    cluster: Cluster,
    audit_start: int,
    inputs: Path,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    """A namespace with an operator that runs the real trainer on one node with GPUs."""
    with speaking(request):
        cluster.load(operator_image(), nodes=["cpu"])
        cluster.load(trainer_image(), nodes=["gpu-a"])
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(inputs, folder / "mini" / "build")
    with operated(cluster.kubectl, "mini", folder, values) as bench:
        yield bench


def values(namespace: str) -> dict[str, Any]:
    """Everything runs where the trainer's image is: it takes gigabytes on each node."""
    pool = {"nodeSelector": {POOL_LABEL: "gpu-a"}, **ON_GPU_NODES, "cpu": "100m", "memory": "2Gi"}
    return {
        "watchNamespace": namespace,
        "progress": {"enabled": True},
        "pools": {"gpu-a": pool},
        "defaultPool": pool,
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
    }


def test_the_miniature_reaches_its_verdict_on_a_cluster(mini: Bench) -> None:
    job = yaml.safe_load((MINI / "distillation.yaml").read_text())
    spec = job["spec"]
    spec["resources"] = {"pool": "gpu-a", "gpusPerNode": 0}
    branch = next(each for each in spec["branches"] if each["name"] == TWO_NODES)
    branch |= {"resources": {"nodes": 2}, "training": {"microBatchSize": 32}}

    mini.apply(job)
    seen: set[str] = set()

    def ended(status: dict[str, Any]) -> bool:
        seen.update(name for name, progress in progress_of(status).items() if progress)
        return status.get("phase") in {"Succeeded", "Failed"}

    status = mini.wait("mini", ended, timeout=PATIENCE_SECONDS)

    assert status["phase"] == "Succeeded", status["conditions"]
    assert {each["name"]: (each["attempts"], each["failures"]) for each in status["stages"]} == {
        each["name"]: (1, 0) for each in status["stages"]
    }
    gangs = {child["metadata"]["annotations"]["branchmerge.dev/stage"]: child for child in mini.children("mini")}
    workers = {name: gangs[f"train/{name}"]["status"]["replicaStatuses"]["Worker"]["succeeded"] for name in DOMAINS}
    assert workers == {name: 2 if name == TWO_NODES else 1 for name in DOMAINS}
    assert {f"train/{name}" for name in DOMAINS} <= seen, "training tells its progress while it runs"
    scores = {(each["model"], each["suite"]): float(each["value"]) for each in status["scores"]}
    for domain in DOMAINS:
        assert scores["merged", domain] > scores["student", domain]
    gates = next(each for each in status["conditions"] if each["type"] == "GatesPassed")
    assert gates["status"] == "True", gates
    report = json.loads(next(mini.folder.glob("mini/stages/report/*/report.json")).read_text())
    assert report, "the report lies in the workspace"


def progress_of(status: dict[str, Any]) -> dict[str, int]:
    """Steps that stages have reported."""
    return {each["name"]: each.get("progress", {}).get("step", 0) for each in status.get("stages", [])}

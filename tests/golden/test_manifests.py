"""Children as they are sent to the API server, beside the job that they are made for. Written anew by `make golden`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from branchmerge.core.model import Start
from branchmerge.kube.cleanup import cleanup_manifest
from branchmerge.kube.manifests import child_manifest
from branchmerge.kube.settings import OperatorSettings
from builders import make_job
from curations import CURATION
from goldenfile import assert_as_before
from valid_specs import POD_TEMPLATE
from world import World

FOLDER = Path(__file__).parent / "manifests"

SETTINGS = OperatorSettings.model_validate(
    {
        "trainerImage": "registry.example/trainer:1",
        "imagePullSecrets": ["registry"],
        "progressUrl": "http://branchmerge.system.svc:8080/progress",
        "pools": {
            "h100": {
                "nodeSelector": {"pool": "h100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "queue": "training",
                "cpu": "64",
                "memory": "900Gi",
            }
        },
    }
)

LABELS = {"kueue.x-k8s.io/queue-name": "team-a", "kueue.x-k8s.io/priority-class": "urgent", "team": "a"}
"""Those of a job that has a queue and a priority of its own."""

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a branch on four nodes of a pool with a queue": (
        {"resources": {"pool": "h100", "nodes": 4, "gpusPerNode": 8}, "training.globalBatchSize": 32},
        "train/math",
    ),
    "a branch on one node without accelerators": ({"resources": {"cpu": "2", "memory": "4Gi"}}, "train/math"),
    "a merge in a folder of the volume": (
        {"workspace.path": "team/tiny", "merge.resources": {"memory": "64Gi"}},
        "merge/math-science",
    ),
    "an evaluation on eight accelerators": (
        {"evaluation.resources": {"pool": "h100", "gpusPerNode": 8}},
        "evaluate/merged",
    ),
    "a branch with everything on two nodes": (
        {"resources": {"pool": "h100", "nodes": 2, "gpusPerNode": 4}, "podTemplate": POD_TEMPLATE, "labels": LABELS},
        "train/math",
    ),
    "a curation that asks a teacher and a judge": (CURATION, "curate/math"),
    "a curation with everything": ({"podTemplate": POD_TEMPLATE, "labels": LABELS}, "curate/math"),
}


class PlainDumper(yaml.SafeDumper):
    """YAML as people write it: equal parts are written out, not referred to."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def containers_of(child: dict[str, Any]) -> list[dict[str, Any]]:
    """The container of every kind of pod."""
    replicas = child["spec"].get("pytorchReplicaSpecs", {"Job": child["spec"]}).values()
    return [replica["template"]["spec"]["containers"][0] for replica in replicas]


def world_of(edits: dict[str, Any]) -> World:
    """A world with the job of these edits; `labels` are those of the job itself."""
    edits = {"workspace": {"persistentVolumeClaim": {"claimName": "models"}}} | edits
    metadata = {"namespace": "team", "uid": "0b0e5c1e-0000-4000-8000-000000000000", "labels": edits.pop("labels", {})}
    return World(make_job(edits, **metadata))


def start_of(edits: dict[str, Any], stage: str) -> tuple[Start, World]:
    """The first start of that stage in a world in which everything ends well."""
    world = world_of(edits)
    while True:
        made = world.plan()
        for action in made.actions:
            if isinstance(action, Start) and action.stage.name == stage:
                return action, world
        assert made.actions, f"{stage} never starts"
        world.perform(made.actions)
        for attempt in world.active():
            world.end(attempt)


@pytest.mark.parametrize("case", CASES)
def test_the_child_is_as_it_was(case: str) -> None:
    edits, stage = CASES[case]
    action, world = start_of(edits, stage)
    child = child_manifest(action, world.job, SETTINGS)
    orders = {container["env"][0]["value"] for container in containers_of(child)}
    assert orders == {action.config.to_json()}
    for container in containers_of(child):
        container["env"][0]["value"] = "(the stage's orders)"
    assert_as_before(FOLDER, case, text_of(child))


def test_the_clean_up_is_as_it_was() -> None:
    edits = {"podTemplate": POD_TEMPLATE, "deletionPolicy": "Delete"}
    assert_as_before(FOLDER, "the clean-up of a job", text_of(cleanup_manifest(world_of(edits).job, SETTINGS)))


def text_of(manifest: dict[str, Any]) -> str:
    return yaml.dump(manifest, Dumper=PlainDumper, sort_keys=False, width=120)

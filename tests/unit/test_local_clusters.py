"""The clusters that this repository brings up, kind's and its own, have the nodes that their values speak of."""

import re
from pathlib import Path
from typing import Any

import yaml

from deployment.images import OPERATOR, TRAINER
from deployment.rendering import CHART
from localcluster.build import TRAINING_OPERATOR
from localcluster.topology import FULL

CLONE = Path(__file__).parents[2]
KIND = yaml.safe_load((CLONE / "kind-config.yaml").read_text())
VALUES = yaml.safe_load((CHART / "ci" / "local-values.yaml").read_text())
MAKEFILE = (CLONE / "Makefile").read_text()


def taints_of(node: dict[str, Any]) -> list[dict[str, str]]:
    """The taints that a node of kind joins with."""
    patches = [yaml.safe_load(patch) for patch in node.get("kubeadmConfigPatches", [])]
    return [taint for patch in patches for taint in patch["nodeRegistration"]["taints"]]


def test_kind_has_the_nodes_of_our_own_cluster() -> None:
    workers = [node for node in KIND["nodes"] if node["role"] == "worker"]
    assert [(node["labels"], taints_of(node)) for node in workers] == [
        (node.labels, node.taints) for node in FULL.nodes
    ]


def test_every_pool_has_a_node_and_every_node_a_pool() -> None:
    assert [pool["nodeSelector"] for pool in VALUES["pools"].values()] == [node.labels for node in FULL.nodes]
    assert list(VALUES["pools"]) == [node.pool for node in FULL.nodes]


def test_a_pool_tolerates_the_taints_of_its_nodes() -> None:
    for node in FULL.nodes:
        tolerated = [(each["key"], each["effect"]) for each in VALUES["pools"][node.pool].get("tolerations", [])]
        assert tolerated == [(taint["key"], taint["effect"]) for taint in node.taints]


def test_stages_that_name_no_pool_keep_off_the_gpu_nodes() -> None:
    assert VALUES["defaultPool"] == VALUES["pools"]["cpu"]


def test_the_images_are_those_that_are_built_here() -> None:
    named = [f"{image['repository']}:{image['tag']}" for image in (VALUES["image"], VALUES["trainer"]["image"])]
    assert named == [OPERATOR, TRAINER]
    assert re.findall(r"^\w+_IMAGE := (.+)$", MAKEFILE, re.MULTILINE) == named


def test_kind_gets_the_training_operator_of_our_own_cluster() -> None:
    assert re.findall(r"training-operator\.git/\S+\?ref=(\S+)$", MAKEFILE, re.MULTILINE) == [TRAINING_OPERATOR.version]

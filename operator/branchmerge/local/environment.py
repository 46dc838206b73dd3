"""The environment of a node's process: what the Kubeflow training operator would set, and the contract of a stage."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from branchmerge.api.stage import (
    INPUTS_ENV,
    PROGRESS_FILE_ENV,
    STAGE_ENV,
    TERMINATION_LOG_ENV,
    WORKSPACE_ENV,
    StageConfig,
    StageKind,
)
from branchmerge.core.model import Stage
from branchmerge.local.processes import MARK_ENV, NODE_ENV

_LOOPBACK = "127.0.0.1"
_FOREIGN_PREFIXES = ("BRANCHMERGE_", "KUBEFLOW_TRAINER_", "LOCAL_", "MASTER_", "PET_", "TORCHELASTIC_")
_FOREIGN_NAMES = frozenset({"RANK", "WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE"})
"""A command line that itself runs inside a distributed job must not hand that job's place on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Processes of an attempt."""

    nodes: int
    ranks_per_node: int

    @classmethod
    def of(cls, stage: Stage) -> Shape:
        """As on a cluster: training is a PyTorchJob of all its nodes, every other stage one pod with one process."""
        if stage.kind is StageKind.TRAIN:
            return cls(stage.resources.nodes, stage.resources.ranks_per_node)
        return cls(1, 1)

    @property
    def ranks(self) -> int:
        """Processes that compute, on all nodes."""
        return self.nodes * self.ranks_per_node


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """What one node of an attempt writes into the attempt's folder."""

    log: Path
    outcome: Path
    progress: Path

    @classmethod
    def of(cls, folder: Path, node: int) -> NodeFiles:
        """The files of node `node`; the first node's outcome and progress are the attempt's."""
        suffix = f"-{node}" if node else ""
        return cls(folder / f"node-{node}.log", folder / f"outcome{suffix}.json", folder / f"progress{suffix}.json")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of this process's environment that attempts get."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN_PREFIXES)
    }


def contract(config: StageConfig, workspace: Path, inputs: Path) -> dict[str, str]:
    """What every node of an attempt is told of its stage."""
    return {STAGE_ENV: config.to_json(), WORKSPACE_ENV: str(workspace), INPUTS_ENV: str(inputs)}


def placement(shape: Shape, port: int) -> dict[str, str]:
    """What the training operator tells every node; see kubeflow/training-operator, `pkg/controller.v1/pytorch`."""
    return {
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": str(port),
        "PET_MASTER_ADDR": _LOOPBACK,
        "PET_MASTER_PORT": str(port),
        "PET_NNODES": str(shape.nodes),
        "PET_NPROC_PER_NODE": str(shape.ranks_per_node),
        "WORLD_SIZE": str(shape.ranks),
        "PYTHONUNBUFFERED": "1",
    }


def of_node(folder: Path, node: int) -> dict[str, str]:
    """What node `node` is told beside what all are told."""
    files = NodeFiles.of(folder, node)
    return {
        "RANK": str(node),
        "PET_NODE_RANK": str(node),
        TERMINATION_LOG_ENV: str(files.outcome),
        PROGRESS_FILE_ENV: str(files.progress),
        MARK_ENV: str(folder),
        NODE_ENV: str(node),
    }


def accelerators(gpus: Sequence[str]) -> dict[str, str]:
    """The accelerators of a node; without any it sees none, as a pod that asks for none."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port

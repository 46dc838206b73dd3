"""Runs one stage: gives it a folder to fill, and turns what it found into a published result."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from branchmerge.api.stage import Difference, GateResult, Score, StageConfig, StageKind, StageResult
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace, building_folder, digest, new_folder, publish

_LIBRARIES = ("branchmerge", "torch", "transformers", "accelerate", "deepspeed", "trl", "mergekit", "datasets")


@dataclass(frozen=True)
class StageContext:
    """What a stage may use besides its task."""

    config: StageConfig
    workspace: Workspace
    progress: ProgressReporter
    stop: StopFlag

    @property
    def work(self) -> Path:
        """Folder for unfinished work (checkpoints); kept from attempt to attempt, removed once the stage is done."""
        folder = self.workspace.path(self.config.work)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Findings:
    """What a stage says of the folder that it filled; see `StageResult`."""

    figures: dict[str, float] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    gates: list[GateResult] = field(default_factory=list)
    verdict: str | None = None
    pins: list[str | None] = field(default_factory=list)
    content: Sequence[str] | None = None
    """Files that are the content of the output, for its digest. Default: all."""


StageFunction = Callable[[Any, StageContext, Path], Findings]
"""(task, context, folder to fill) -> findings."""

_STAGES: dict[StageKind, str] = {
    StageKind.INPUTS: "branchmerge_trainer.inputs.stage",
    StageKind.CURATE: "branchmerge_trainer.curate.stage",
    StageKind.TRAIN: "branchmerge_trainer.train.stage",
    StageKind.MERGE: "branchmerge_trainer.merge.stage",
    StageKind.EVALUATE: "branchmerge_trainer.evaluate.stage",
    StageKind.REPORT: "branchmerge_trainer.report.stage",
}
"""Module of each kind of stage; imported late, because most of them import torch. Each has a function `run`."""


def stage_function(kind: StageKind) -> StageFunction:
    """The function that carries out stages of this kind."""
    function: StageFunction = importlib.import_module(_STAGES[kind]).run
    return function


def run_stage(context: StageContext) -> StageResult:
    """Carry out the stage and publish its output. The result is the one that is now in the workspace."""
    config, workspace = context.config, context.workspace
    started_at = datetime.now(UTC)
    folder = new_folder(config, workspace)
    context.progress.phase("loading libraries")
    findings = stage_function(config.task.kind)(config.task, context, folder)
    context.progress.phase("publishing")
    result = StageResult(
        stage=config.stage,
        fingerprint=config.fingerprint,
        digest=digest(folder, findings.content),
        started_at=started_at,
        finished_at=datetime.now(UTC),
        figures=findings.figures,
        dropped=findings.dropped,
        scores=findings.scores,
        differences=findings.differences,
        gates=findings.gates,
        verdict=findings.verdict,
        pins=findings.pins,
        versions=library_versions(),
    )
    publish(folder, result, config, workspace)
    return result


def assist_stage(context: StageContext) -> None:
    """Take part in a stage as a rank other than 0, which alone writes and publishes."""
    config = context.config
    stage_function(config.task.kind)(config.task, context, building_folder(config, context.workspace))


def library_versions() -> dict[str, str]:
    """Version of each library that can shape an output."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue  # an image may leave out what its stages do not use
    return versions

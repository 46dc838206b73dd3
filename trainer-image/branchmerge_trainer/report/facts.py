"""What the other stages left in their folders, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import Difference, ReportTask, Score, StageResult
from branchmerge_trainer.evaluate.answers import read_answers
from branchmerge_trainer.evaluate.statistics import paired_difference
from branchmerge_trainer.train.history import HISTORY_FILE
from branchmerge_trainer.workspace import Workspace

TENSORS_FILE = "tensors.jsonl"
"""As `merge.changes` writes it, which is not imported because it imports torch."""


@dataclass(frozen=True)
class Branch:
    """One domain: its rows and its training."""

    name: str
    curation: StageResult
    training: StageResult
    history: list[dict[str, float]]
    """One entry a step: `step`, `loss`, …"""


@dataclass(frozen=True)
class MergeStep:
    """One step of the recipe."""

    name: str
    result: StageResult
    tensors: list[dict[str, Any]]
    """One entry a tensor: `tensor`, `elements`, `changed` (share, 0-1)."""


@dataclass(frozen=True)
class Facts:
    """All that a report tells."""

    job: str
    task: ReportTask
    branches: list[Branch]
    merges: list[MergeStep]
    evaluations: dict[str, StageResult]
    """Model name -> result, in the order of the pipeline."""
    differences: list[Difference]

    @property
    def scores(self) -> dict[tuple[str, str], Score]:
        """(model, suite) -> score."""
        return {(model, score.suite): score for model, result in self.evaluations.items() for score in result.scores}

    @property
    def results(self) -> dict[str, StageResult]:
        """Stage name -> result, in the order of the pipeline."""
        results = {f"curate/{branch.name}": branch.curation for branch in self.branches}
        results |= {f"train/{branch.name}": branch.training for branch in self.branches}
        results |= {f"merge/{step.name}": step.result for step in self.merges}
        return results | {f"evaluate/{model}": result for model, result in self.evaluations.items()}

    def difference(self, model: str, suite: str, baseline: str = STUDENT) -> Difference | None:
        """The model's paired difference to the baseline, where both were measured."""
        wanted = (model, suite, baseline)
        return next((each for each in self.differences if (each.model, each.suite, each.baseline) == wanted), None)


def gather(job: str, task: ReportTask, workspace: Workspace) -> Facts:
    """Read the stages' folders. Raises InputError where one is not complete."""
    evaluations = {model: _result(output, workspace) for model, output in task.evaluate.items()}
    return Facts(
        job=job,
        task=task,
        branches=[
            Branch(
                name,
                _result(task.curate[name], workspace),
                _result(output, workspace),
                _lines(workspace.path(output) / HISTORY_FILE),
            )
            for name, output in task.train.items()
        ],
        merges=[
            MergeStep(name, _result(output, workspace), _lines(workspace.path(output) / TENSORS_FILE))
            for name, output in task.merge.items()
        ],
        evaluations=evaluations,
        differences=_differences(task, workspace),
    )


def _differences(task: ReportTask, workspace: Workspace) -> list[Difference]:
    """Every model to the student, and the merged model to every specialist, on every suite."""
    pairs = [(model, STUDENT) for model in task.evaluate if model != STUDENT]
    pairs += [(MERGED, model) for model in task.evaluate if model not in (STUDENT, MERGED)]
    differences = []
    for suite in task.suites:
        answers = {model: read_answers(workspace.path(output), suite.name) for model, output in task.evaluate.items()}
        for model, baseline in pairs:
            if model in answers and baseline in answers:
                differences.append(_difference(model, baseline, suite.name, answers))
    return differences


def _difference(model: str, baseline: str, suite: str, answers: Mapping[str, Mapping[str, float]]) -> Difference:
    value, low, high = paired_difference(answers[model], answers[baseline])
    return Difference(model=model, baseline=baseline, suite=suite, value=value, ci95=(low, high))


def _result(output: str, workspace: Workspace) -> StageResult:
    result = workspace.result(output)
    if result is None:
        raise InputError(f"{workspace.path(output)}: not complete: run the job again, which makes it anew")
    return result


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]

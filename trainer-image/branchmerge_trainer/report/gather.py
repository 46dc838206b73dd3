"""Reads what the other stages left in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef, ReportTask
from branchmerge_trainer.evaluate.answers import read_answers
from branchmerge_trainer.merge.tensors import read_changes
from branchmerge_trainer.report.comparisons import compare_all
from branchmerge_trainer.report.curation import read_curation
from branchmerge_trainer.report.facts import Branch, Facts, Merge, Stage
from branchmerge_trainer.report.metadata import is_hub_id
from branchmerge_trainer.train.history import read_history
from branchmerge_trainer.workspace import LINEAGE_FILE, Workspace


def gather(job: str, task: ReportTask, workspace: Workspace) -> Facts:
    """Everything that the report tells. Raises InputError where the output of a stage is not there or damaged."""
    return Facts(
        job=job,
        task=task,
        student_hub_id=_hub_id(task.student, workspace),
        branches=[_branch(name, task, workspace) for name in task.train],
        merges=[_merge(name, output, workspace) for name, output in task.merge.items()],
        evaluations={model: _stage(output, workspace) for model, output in task.evaluate.items()},
        comparisons=compare_all(
            [suite.name for suite in task.suites],
            {
                (model, suite.name): read_answers(workspace.path(output), suite.name)
                for model, output in task.evaluate.items()
                for suite in task.suites
            },
        ),
    )


def _hub_id(student: ModelRef, workspace: Workspace) -> str | None:
    location = student.model
    if location is None or student.revision is None or workspace.locate(location) != location:
        return None
    return location if is_hub_id(location) else None


def _branch(name: str, task: ReportTask, workspace: Workspace) -> Branch:
    output = task.train[name]
    return Branch(
        name=name,
        curation=_stage(task.curate[name], workspace),
        training=_stage(output, workspace),
        history=read_history(workspace.path(output)),
        record=read_curation(workspace.path(task.curate[name])),
    )


def _merge(name: str, output: str, workspace: Workspace) -> Merge:
    return Merge(name, _stage(output, workspace), read_changes(workspace.path(output)))


def _stage(output: str, workspace: Workspace) -> Stage:
    folder = workspace.path(output)
    result = workspace.result(output)
    if result is None:
        raise InputError(f"{folder}: no finished output: run the job again, which makes it anew")
    return Stage(result, _ingredients(folder))


def _ingredients(folder: Path) -> dict[str, Any]:
    lineage: dict[str, Any] = json.loads((folder / LINEAGE_FILE).read_bytes())
    ingredients: dict[str, Any] = lineage["ingredients"]
    return ingredients

"""The merge of one step: checks, merges, gives the output the student's tokenizer, and verifies what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from branchmerge.api.merge import MergeType
from branchmerge.api.stage import MergeTask
from branchmerge_trainer.merge.changes import changes
from branchmerge_trainer.merge.engine import TensorMerge
from branchmerge_trainer.merge.preflight import Model, check_alike, check_space, inspect, needed_tensors
from branchmerge_trainer.merge.recipe import configuration
from branchmerge_trainer.merge.tensors import TensorChange, share, write_changes
from branchmerge_trainer.models import carry_over, model_folder
from branchmerge_trainer.runtime import Findings, StageContext

_TYPES = {
    MergeType.BFLOAT16: torch.bfloat16,
    MergeType.FLOAT16: torch.float16,
    MergeType.FLOAT32: torch.float32,
}


def run(task: MergeTask, context: StageContext, folder: Path) -> Findings:
    """Write a Hugging Face model folder and `tensors.jsonl` to `folder`.

    Raises InputError where a model is incomplete, or is not the student in another state.
    """
    context.progress.phase("checking models")
    student = inspect(task.student.name, model_folder(task.student, context.workspace))
    models = {
        name: inspect(ref.name, model_folder(ref, context.workspace))
        for name, ref in task.models.items()
        if name in task.step.inputs
    }
    check_alike(student, models.values())
    check_space(student.weights, _TYPES[task.out_dtype].itemsize, folder)
    _merge(task, models, context, folder)
    _write_config(student, task.out_dtype, folder)
    carry_over(student.folder, folder)
    merged = inspect(task.step.name, folder)
    _verify(merged, student)
    base = models[task.step.base or task.step.models[0]]
    tensors = list(_measured(merged, base, _TYPES[task.dtype], context))
    write_changes(folder, tensors)
    figures = {
        "tensors": float(len(tensors)),
        "elements": float(sum(row.elements for row in tensors)),
        "density": share(tensors),
    }
    return Findings(figures=figures)


def _merge(task: MergeTask, models: dict[str, Model], context: StageContext, folder: Path) -> None:
    context.progress.phase("planning the merge")
    plan = configuration(task, {name: model.folder for name, model in models.items()})
    merge = TensorMerge(plan, folder, shard_bytes=task.shard_bytes, seed=task.seed)
    context.progress.phase("merging", steps=merge.tensors, step=0)
    for done in merge.run():
        context.progress.advance(done)


def _write_config(student: Model, dtype: MergeType, folder: Path) -> None:
    """The student's own configuration with the output's number format, under the names that readers know it by."""
    config = json.loads((student.folder / "config.json").read_bytes())
    config["dtype"] = str(dtype)
    if "torch_dtype" in config:
        config["torch_dtype"] = str(dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _verify(merged: Model, student: Model) -> None:
    """Raise RuntimeError unless the output has all tensors of the student, and its tokenizer."""
    ours, theirs = needed_tensors(merged), needed_tensors(student)
    if ours != theirs:
        names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise RuntimeError(f"mergekit left out or changed the shape of {len(names)} tensors: {', '.join(names[:3])}…")
    if difference := student.tokenizer.difference(merged.tokenizer):
        raise RuntimeError(f"the merged model has {difference} than the student")


def _measured(merged: Model, base: Model, dtype: torch.dtype, context: StageContext) -> Iterator[TensorChange]:
    context.progress.phase("comparing with the base", steps=len(merged.weights), step=0)
    for done, row in enumerate(changes(merged.weights, base.weights, dtype), start=1):
        yield row
        context.progress.advance(done)

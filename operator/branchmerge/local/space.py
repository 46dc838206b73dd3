"""Whether the disk has room for what a job will write."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from branchmerge.api.merge import MergeType
from branchmerge.api.resource import Spec
from branchmerge.api.stage import StageKind
from branchmerge.local.capacity import GIBIBYTE
from branchmerge.local.models import ModelFacts

_CHECKPOINT_PARAMETER_BYTES = 14
"""fp32 master weight, two fp32 Adam moments and the weight in the student's dtype: 450 GB at 32 G parameters."""
_TYPE_BYTES = {MergeType.BFLOAT16: 2, MergeType.FLOAT16: 2, MergeType.FLOAT32: 4}
_OTHER_BYTES = 64 << 20
"""Curated rows, answers, logs and reports."""


def bytes_needed(spec: Spec, missing: Iterable[str], model: ModelFacts, parallel: int) -> int:
    """Rough size of everything that the stages named in `missing` will write, in bytes.

    Checkpoints live only while a branch trains, so as many count as branches train at a time.
    """
    names = list(missing)
    trained = [branch for branch in spec.branches if f"{StageKind.TRAIN}/{branch.name}" in names]
    merged = sum(name.startswith(f"{StageKind.MERGE}/") for name in names)
    checkpoints = sorted(
        ((spec.training_of(branch).checkpoint.keep + 1) * _CHECKPOINT_PARAMETER_BYTES for branch in trained),
        reverse=True,
    )
    return (
        _OTHER_BYTES
        + len(trained) * model.bytes
        + merged * model.parameters * _TYPE_BYTES[spec.merge.out_dtype]
        + sum(checkpoints[:parallel]) * model.parameters
    )


def space_problem(folder: Path, needed: int) -> str | None:
    """One line where the disk of `folder` has less than `needed` bytes free beside unfinished work that is there."""
    free = shutil.disk_usage(folder).free
    kept = sum(file.stat().st_size for file in folder.glob("stages/**/*.work/**/*") if file.is_file())
    if free + kept >= needed:
        return None
    return (
        f"{folder}: the job needs about {_shown(needed - kept)} more, but {_shown(free)} are free: free some, "
        "lower training.checkpoint.keep, or choose another disk with --workspace"
    )


def _shown(count: int) -> str:
    return f"{count / GIBIBYTE:.1f} GiB" if count >= GIBIBYTE else f"{count / (1 << 20):.1f} MiB"

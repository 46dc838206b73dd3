"""How much of each tensor a merge has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from branchmerge.api.errors import InputError
from branchmerge_trainer.weights import Weights

TENSORS_FILE = "tensors.jsonl"


@dataclass(frozen=True)
class TensorChange:
    """One line of `tensors.jsonl`."""

    tensor: str
    elements: int
    changed: float
    """Share (0-1) of the elements that differ from the base's."""


def changes(merged: Weights, base: Weights, dtype: torch.dtype) -> Iterator[TensorChange]:
    """Compare the merged model with its base, one tensor in memory at a time, in the order of names.

    `dtype` is that of the merge's arithmetic: the base's rounding to it is no change. A tensor that the base does not
    store (a tied head) is left out. Raises InputError for a tensor with infinite or undefined values.
    """
    for name in sorted(merged.keys() & base.keys()):
        ours, theirs = _load(merged, name), _load(base, name)
        if not bool(torch.isfinite(ours).all()):
            raise InputError(
                f"merged tensor {name!r} has infinite or undefined values: weights must not cancel to zero, "
                f"and numbers must fit {str(ours.dtype).removeprefix('torch.')}: change weights, parameters or outDtype"
            )
        different = torch.count_nonzero(ours != theirs.to(dtype).to(ours.dtype)).item()
        yield TensorChange(name, ours.numel(), different / max(1, ours.numel()))


def density(tensors: Iterable[TensorChange]) -> float:
    """Share (0-1) of all elements that the merge has changed."""
    rows = list(tensors)
    return sum(row.changed * row.elements for row in rows) / max(1, sum(row.elements for row in rows))


def write_changes(folder: Path, tensors: Iterable[TensorChange]) -> None:
    """Write `tensors.jsonl`, one tensor a line."""
    lines = (json.dumps(asdict(row)) + "\n" for row in tensors)
    (folder / TENSORS_FILE).write_text("".join(lines))


def _load(weights: Weights, name: str) -> torch.Tensor:
    with safe_open(weights[name].file, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor

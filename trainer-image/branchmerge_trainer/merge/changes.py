"""How much of each tensor a merge has changed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from safetensors import safe_open

from branchmerge.api.errors import InputError
from branchmerge_trainer.merge.tensors import TensorChange
from branchmerge_trainer.weights import Weights


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


def _load(weights: Weights, name: str) -> torch.Tensor:
    with safe_open(weights[name].file, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor

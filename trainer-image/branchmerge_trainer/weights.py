"""What a model's safetensors files hold, from their headers alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from branchmerge.api.errors import InputError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TIED_HEAD = "lm_head.weight"
"""Output projection, which a model with tied embeddings may store although it is never read."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is stored, and its shape."""

    file: Path
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Weights = Mapping[str, StoredTensor]
"""Tensor name -> where it is stored."""


def read_weights(folder: Path, model: str) -> dict[str, StoredTensor]:
    """Every tensor of the model in `folder`, by name.

    `model` is what messages call it. Raises InputError where a file is missing, cut off, or lacks a tensor that the
    index promises.
    """
    weights: dict[str, StoredTensor] = {}
    promised = _promised(folder, model)
    for name, tensors in promised.items():
        stored = _read_header(folder / name, model)
        if missing := sorted(tensors - stored.keys()):
            raise InputError(
                f"{model}: {folder / name}: tensor {missing[0]!r} is in {INDEX_FILE}, but not in the file: "
                "save the model again"
            )
        weights.update(stored)
    return weights


def _promised(folder: Path, model: str) -> dict[str, set[str]]:
    """File name -> names of the tensors that the index promises in it."""
    index = folder / INDEX_FILE
    if not index.exists():
        if not (folder / SINGLE_FILE).exists():
            raise InputError(
                f"{model}: {folder}: no {SINGLE_FILE} and no {INDEX_FILE}: save the model in safetensors format"
            )
        return {SINGLE_FILE: set()}
    try:
        weight_map: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{model}: {index}: is no index of safetensors files: save the model again") from None
    files: dict[str, set[str]] = {}
    for tensor, file in weight_map.items():
        files.setdefault(file, set()).add(tensor)
    return files


def _read_header(path: Path, model: str) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: StoredTensor(path, tuple(file.get_slice(name).get_shape())) for name in file.offset_keys()}
    except FileNotFoundError:
        raise InputError(f"{model}: {path}: missing, though {INDEX_FILE} names it: copy the whole model") from None
    except SafetensorError as error:
        raise InputError(f"{model}: {path}: damaged or cut off ({error}): copy or save the model again") from None

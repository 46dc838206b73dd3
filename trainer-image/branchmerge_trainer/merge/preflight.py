"""Checks before a merge: every model is complete, and all are the student in another state."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from branchmerge.api.errors import InputError
from branchmerge_trainer.merge.tokenizers import TokenizerIdentity, identify
from branchmerge_trainer.models import check_files
from branchmerge_trainer.weights import TIED_HEAD, Weights

_HARMLESS_SETTINGS = frozenset(
    {
        "_name_or_path",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "pad_token_id",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Settings that do not change what weights mean: trainers write them as they please."""


@dataclass(frozen=True)
class Model:
    """A model that takes part in a merge."""

    name: str
    folder: Path
    config: dict[str, Any]
    weights: Weights
    tokenizer: TokenizerIdentity

    @property
    def tied(self) -> bool:
        """Whether the output projection is the embedding."""
        return bool(self.config.get("tie_word_embeddings"))


def inspect(name: str, folder: Path) -> Model:
    """Look at a model's files. Raises InputError where it is incomplete."""
    weights = check_files(folder, name)
    return Model(name, folder, _config(folder, name), weights, identify(folder, name))


def check_alike(student: Model, others: Iterable[Model]) -> None:
    """Raise InputError unless all models have the student's architecture, shapes, tokenizer and chat template."""
    for model in others:
        _check_config(student, model)
        _check_shapes(student, model)
        difference = student.tokenizer.difference(model.tokenizer)
        if difference is not None:
            raise InputError(
                f"{model.name}: {model.folder}: {difference} than {student.name}'s ({student.folder}): "
                "merge models that were trained from one student with its own tokenizer and chat template"
            )


def check_space(weights: Weights, bytes_each: int, folder: Path) -> None:
    """Raise InputError where the disk below `folder` is too small for the merged model."""
    needed = bytes_each * sum(tensor.elements for tensor in weights.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: {free:,} bytes are free, but the merged model needs {needed:,}: free some, "
            "or choose a larger workspace"
        )


def needed_tensors(model: Model) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each tensor that loading the model reads."""
    return {name: tensor.shape for name, tensor in model.weights.items() if not (model.tied and name == TIED_HEAD)}


def _config(folder: Path, name: str) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name}: {folder / 'config.json'}: cannot be read: {reason}: correct it") from None
    return settings


def _check_config(student: Model, model: Model) -> None:
    if student.tied != model.tied:
        tied, untied = (student, model) if student.tied else (model, student)
        raise InputError(
            f"{model.name}: {model.folder}: {tied.name} ties its embeddings and {untied.name} does not "
            "(tie_word_embeddings in config.json): train all from one student"
        )
    for setting in sorted(student.config.keys() | model.config.keys()):
        ours, theirs = student.config.get(setting), model.config.get(setting)
        if ours != theirs and setting not in _HARMLESS_SETTINGS:
            raise InputError(
                f"{model.name}: {model.folder}: {setting} in config.json is {theirs!r}, but {ours!r} in {student.name}:"
                " merge models of one architecture and size, trained from one student"
            )


def _check_shapes(student: Model, model: Model) -> None:
    ours, theirs = needed_tensors(student), needed_tensors(model)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) == theirs.get(name):
            continue
        raise InputError(
            f"{model.name}: {model.folder}: tensor {name!r} {_shape(theirs.get(name))}, but {_shape(ours.get(name))} "
            f"in {student.name}: merge models of one architecture and size, trained from one student"
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "is missing" if shape is None else f"has the shape {list(shape)}"

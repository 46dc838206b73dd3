"""The student before training: its files, what they must say, and the number format of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.models import check_files, model_folder
from branchmerge_trainer.weights import StoredTensor
from branchmerge_trainer.workspace import Workspace


@dataclass(frozen=True)
class Student:
    """A model folder that was found to be whole."""

    folder: Path
    config: Any
    tokenizer: Any
    weights: Mapping[str, StoredTensor]
    has_template: bool
    """Whether it has a chat template of its own."""

    @classmethod
    def open(cls, ref: ModelRef, workspace: Workspace) -> Student:
        """Find the student. Raises InputError where a file is missing or broken, or tokenizer and model do not fit."""
        from transformers import AutoConfig, AutoTokenizer

        folder = model_folder(ref, workspace)
        weights = check_files(folder, ref.name)
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # libraries raise whatever they trip over
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{ref.name}: {folder}: configuration or tokenizer cannot be read ({reason}): copy the model again"
            ) from None
        embeddings = config.get_text_config().vocab_size
        if len(tokenizer) > embeddings:
            raise InputError(
                f"{ref.name}: {folder}: the tokenizer has {len(tokenizer)} tokens, but the model has embeddings for "
                f"{embeddings} (vocab_size in config.json): copy the tokenizer that belongs to the model"
            )
        return cls(folder, config, tokenizer, weights, has_template=tokenizer.chat_template is not None)

    @cached_property
    def generation_config(self) -> Any:
        """The model's defaults of generation, which say what ends an answer."""
        from transformers import GenerationConfig

        try:
            return GenerationConfig.from_pretrained(self.folder, local_files_only=True)
        except OSError:
            return GenerationConfig.from_model_config(self.config)

    @cached_property
    def dtype(self) -> str:
        """Number format of the stored weights, in torch's words, such as `bfloat16`: that of the largest tensor.

        The files tell it, because a `config.json` may say something else.
        """
        name, tensor = max(self.weights.items(), key=lambda item: prod(item[1].shape))
        with safe_open(tensor.file, framework="pt") as file:
            return str(file.get_slice(name)[:0].dtype).removeprefix("torch.")

"""Where the files of a model lie, whether they are all there, and which of them every model of a job shares."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.remote import fetch_model
from branchmerge_trainer.weights import StoredTensor, read_weights
from branchmerge_trainer.workspace import Workspace

VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""A folder with none of these has no tokenizer, whatever `AutoTokenizer` makes of it (one of a single token)."""
_NO_WEIGHTS = ("*.json", "*.jinja", "*.model", "*.txt")
"""What is needed of a model whose weights are not: its tokenizer and its configuration."""
_WHOLE = (*_NO_WEIGHTS, "*.safetensors")
"""What a download takes: weights, configuration and tokenizer, but no pickles and no code."""

_SHARED_FILES = (
    *VOCABULARY_FILES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
_TEMPLATES_FOLDER = "additional_chat_templates"


def model_folder(ref: ModelRef, workspace: Workspace, *, weights: bool = True) -> Path:
    """The local folder of a model; one of the Hub or of an object store is downloaded, or found where it was put.

    `weights`: whether they are needed; the tokenizer alone is small.

    Raises InputError where there is none, TransientError where it cannot be reached.
    """
    location, wanted = workspace.model(ref), _WHOLE if weights else _NO_WEIGHTS
    if Path(location).is_dir():
        return Path(location)
    if "://" in location:
        return fetch_model(ref.name, location, workspace.root, wanted)
    if location.startswith(("/", ".")):
        raise InputError(
            f"{ref.name}: {location}: no such folder: give a folder (relative paths start from {workspace.inputs}), "
            "a Hub id or an fsspec URI"
        )
    return _download(ref, location, wanted)


def check_files(folder: Path, model: str) -> dict[str, StoredTensor]:
    """The tensors of the model in `folder`; `model` is what messages call it.

    Raises InputError where configuration, tokenizer or weights are missing or cut off.
    """
    if not (folder / "config.json").exists():
        raise InputError(f"{model}: {folder}: no config.json: give the folder of a Hugging Face model")
    if not any((folder / name).exists() for name in VOCABULARY_FILES):
        raise InputError(
            f"{model}: {folder}: no tokenizer ({', '.join(VOCABULARY_FILES)}): copy the tokenizer's files there"
        )
    return read_weights(folder, model)


def carry_over(student: Path, folder: Path) -> None:
    """Copy the student's tokenizer, chat template and generation configuration to `folder`, unchanged."""
    for name in _SHARED_FILES:
        if (student / name).exists():
            shutil.copyfile(student / name, folder / name)
    if (student / _TEMPLATES_FOLDER).is_dir():
        shutil.copytree(student / _TEMPLATES_FOLDER, folder / _TEMPLATES_FOLDER)


def _download(ref: ModelRef, repo: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(repo, revision=ref.revision, allow_patterns=list(patterns)))
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
        revision = f" at revision {ref.revision}" if ref.revision else ""
        raise InputError(
            f"{ref.name}: {repo}: neither a folder nor a model of the Hub{revision}: correct the name, or log in "
            "if it is private"
        ) from None
    except LocalEntryNotFoundError as error:
        reason = str(error).partition("\n")[0].removeprefix("Got: ")
        raise TransientError(f"{ref.name}: {repo}: not in the cache, and the Hub cannot be reached: {reason}") from None

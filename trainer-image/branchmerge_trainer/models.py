"""Where the files of a model lie."""

from __future__ import annotations

from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.workspace import Workspace

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
"""What a download takes: weights, configuration and tokenizer, but no pickles and no code."""


def model_folder(ref: ModelRef, workspace: Workspace) -> Path:
    """The local folder of a model; one of the Hub is downloaded, or found in the cache.

    Raises InputError where there is none.
    """
    location = workspace.model(ref)
    if Path(location).is_dir():
        return Path(location)
    if "://" in location or location.startswith(("/", ".")):
        raise InputError(
            f"{ref.name}: {location}: no such folder: give a folder (relative paths start from {workspace.inputs}) "
            "or a Hub id"
        )
    return _download(ref, location)


def _download(ref: ModelRef, repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(repo, revision=ref.revision, allow_patterns=_FILES))
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
        revision = f" at revision {ref.revision}" if ref.revision else ""
        raise InputError(
            f"{ref.name}: {repo}: neither a folder nor a model of the Hub{revision}: correct the name, or log in "
            "if it is private"
        ) from None

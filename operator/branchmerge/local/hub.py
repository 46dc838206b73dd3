"""Resolves a name of the Hugging Face Hub to a commit. The library is imported late: most runs do not need it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from branchmerge.api.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_SECONDS = 20.0


def commit_of(kind: Literal["model", "dataset"], repo: str, revision: str, field: str) -> str:
    """The commit that a branch or tag points at now, or in this machine's cache where the Hub cannot be reached.

    `field` names the field in messages. Raises InputError where there is no such repository or revision, and where the
    Hub can neither be reached nor is cached.
    """
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise InputError(
            f"{field}: {repo!r} is not here, and asking the Hub needs a library that is not installed: "
            "pip install 'branchmerge[trainer]', or download it and name its folder"
        ) from None
    api = HfApi()
    ask = api.model_info if kind == "model" else api.dataset_info
    try:
        sha = ask(repo, revision=revision, timeout=_TIMEOUT_SECONDS).sha
    except GatedRepoError:
        raise InputError(
            f"{field}: the Hub gives {repo!r} to approved accounts only: ask for access on its page, then set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{field}: {repo!r} has no revision {revision!r}: name a branch, tag or commit") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(
            f"{field}: {repo!r} is neither a path below this file's folder nor a {kind} of the Hub that you may read: "
            "correct the name, or set HF_TOKEN if it is private"
        ) from None
    except Exception as error:  # the HTTP library's own, which differs from version to version
        return _cached(kind, repo, revision, field, error)
    assert sha is not None, "the Hub always tells the commit of a revision"
    return sha


def _cached(kind: str, repo: str, revision: str, field: str, error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"
    try:
        return (folder / "refs" / revision).read_text().strip()
    except OSError:
        raise InputError(
            f"{field}: {repo!r} is not here, and the Hub cannot be reached ({_short(error)}): "
            "go online, or download it first and name its folder"
        ) from None


def _short(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text[:120] or type(error).__name__

"""Resolves each input once for a job: what is behind a name may change while the job runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from branchmerge.api.content import content_digest, content_files, file_digest
from branchmerge.api.errors import InputError
from branchmerge.api.stage import OUTCOME_BYTES, InputsTask, InputToResolve
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.runtime import Findings, StageContext

PINS_FILE = "pins.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PINS_BYTES = OUTCOME_BYTES - 1024
"""What the result can hold of them; the rest of it is short."""


def run(task: InputsTask, context: StageContext, folder: Path) -> Findings:
    """Write `pins.json`: for each input its commit, or sha256 of its content; null for a URI, which counts as it is.

    Raises InputError with a line for each input that is not there.
    """
    pins: list[str | None] = []
    problems = []
    context.progress.phase("resolving inputs", step=0, steps=len(task.inputs))
    for number, entry in enumerate(task.inputs, start=1):
        try:
            pins.append(_pin(entry, context))
        except InputError as error:
            problems.append(str(error))
        context.progress.advance(number)
    if problems:
        raise InputError("; ".join(problems))
    text = json.dumps(pins)
    if len(text) > _PINS_BYTES:
        raise InputError(f"{len(pins)} inputs are too many for one job: put the rows of several sources into one file")
    (folder / PINS_FILE).write_text(text)
    return Findings(pins=pins)


def _pin(entry: InputToResolve, context: StageContext) -> str | None:
    location = entry.location if entry.kind == "dataset" else context.workspace.locate(entry.location)
    if "://" in location:
        return None
    if entry.kind != "dataset" and Path(location).exists():
        return _digest(Path(location))
    if entry.kind == "file":
        raise InputError(
            f"{entry.field}: {entry.location!r} is not there: correct it; relative paths start from "
            f"{context.workspace.inputs}"
        )
    return _commit(entry)


def _digest(path: Path) -> str:
    return content_digest(path, {file: file_digest(file) for file in content_files(path)})


def _commit(entry: InputToResolve) -> str:
    """The commit that a branch or tag of the Hub points at now."""
    revision = entry.revision or "main"
    if _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi()
    ask = api.dataset_info if entry.kind == "dataset" else api.model_info
    try:
        commit = ask(entry.location, revision=revision).sha
    except RevisionNotFoundError:
        raise InputError(
            f"{entry.field}: {entry.location!r} has no revision {revision!r}: name a branch, tag or commit"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(
            f"{entry.field}: {entry.location!r} is neither a path of the workspace nor a {entry.kind} of the Hub that "
            "the job may read: correct the name, or give its pods HF_TOKEN (podTemplate.env) if it is private"
        ) from None
    except Exception as error:  # the HTTP library's own, which differs from version to version
        raise TransientError(f"{entry.field}: {entry.location!r}: the Hub cannot be reached: {error}") from error
    assert commit is not None, "the Hub always tells the commit of a revision"
    return commit

"""The chat template that renders the turns to learn: the student's own, a shipped one, or the user's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge_trainer.workspace import Workspace

FIELD = "training.chatTemplate.training"
STUDENT = "student"
KEEPS_TRACE = "r1-distill"
"""The shipped template for students whose own one drops the trace."""

_SUFFIX = ".jinja"
_FOLDER = files("branchmerge_trainer.train") / "templates"


def shipped() -> list[str]:
    """Names of the templates that ship with the trainer."""
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in _FOLDER.iterdir() if entry.name.endswith(_SUFFIX))


def training_template(name: str, tokenizer: Any, workspace: Workspace) -> str:
    """The Jinja text of the template that `name` stands for, `name` being a value of `chatTemplate.training`.

    Raises InputError where there is no such template.
    """
    if name == STUDENT:
        return _own(tokenizer)
    if name in shipped():
        return (_FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    path = Path(workspace.locate(name))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{FIELD}: {name!r} is neither {STUDENT}, nor {', '.join(shipped())}, nor a Jinja file that can be read: "
            f"correct it; relative paths start from {workspace.inputs}"
        ) from None


def _own(tokenizer: Any) -> str:
    if not isinstance(tokenizer.chat_template, str):
        what = "no chat template" if tokenizer.chat_template is None else "several chat templates"
        raise InputError(
            f"{FIELD}: {STUDENT}, but {tokenizer.name_or_path} has {what}: "
            f"name the one to train with: {', '.join(shipped())}, or a Jinja file"
        )
    return tokenizer.chat_template

"""Names that must be valid, unique and the same every time they are made; and how many of them people are shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

CHILD_NAME_LENGTH = 50
"""Leaves room for the suffixes of pods and services (`-worker-123`) within the 63 characters of a DNS label."""
_FINGERPRINT_LENGTH = 8
_FOLDER_LENGTH = 16
_MARK_LENGTH = 8
_LISTED = 3


def child_name(job: str, stage: str, fingerprint: str, attempt: int) -> str:
    """Name of what executes an attempt: `<job>-<stage>-<fingerprint8>-<attempt>`, a DNS label of RFC 1035.

    What does not fit into 50 characters is cut, and a hash of job and stage put in its place. A job whose name begins
    with a digit gets an `x` in front, because the training operator and Services want a letter there.
    """
    tail = f"-{fingerprint[:_FINGERPRINT_LENGTH]}-{attempt}"
    head = f"{job}-{stage.replace('/', '-')}"
    if head[0].isdigit():
        head = f"x{head}"
    room = CHILD_NAME_LENGTH - len(tail)
    if len(head) > room:
        mark = hashlib.sha256(f"{job}/{stage}".encode()).hexdigest()[:_MARK_LENGTH]
        head = f"{head[: room - _MARK_LENGTH - 1].rstrip('-')}-{mark}"
    return head + tail


def output_folder(stage: str, fingerprint: str) -> str:
    """Folder of a stage's output, relative to the workspace."""
    return f"stages/{stage}/{fingerprint[:_FOLDER_LENGTH]}"


def answers_folder(job: str, branch: str, who: str, said_by: str) -> str:
    """Folder, relative to the workspace, of what an endpoint says in a branch's curation.

    `who`: `teacher` or `judge`; `said_by`: fingerprint of what determines its words. Jobs that share a workspace do not
    share it: they may run at the same time, and a job's answers go with it.
    """
    return f"answers/{job}/{branch}/{who}-{said_by[:_FOLDER_LENGTH]}"


def listed(names: Sequence[str]) -> str:
    """The first three of these names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")

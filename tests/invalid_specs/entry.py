"""One entry of the table, and the paths that many entries edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DATA = "spec.branches.0.data"
STEP = "spec.merge.recipe.0"
SUITE = "spec.evaluation.suites.0"
GATE = "spec.evaluation.gates.0"


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """The job of `builders.make_document` with one mistake."""

    id: str
    edits: Mapping[str, Any]
    line: str
    """The whole message of `branchmerge validate`."""
    refusal: str | None
    """What the API server's answer contains; None where it cannot know."""

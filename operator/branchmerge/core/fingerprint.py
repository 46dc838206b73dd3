"""Fingerprints: equal ingredients, equal output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from branchmerge.api.stage import StageKind

Ingredients = dict[str, Any]
"""Everything that determines a stage's output, as plain JSON without nulls; kept beside the output as its lineage."""

VERSIONS: Mapping[StageKind, int] = MappingProxyType(dict.fromkeys(StageKind, 1) | {StageKind.CURATE: 2})
"""Raised when the trainer's work changes such that equal ingredients give another output: it re-runs the stages."""


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """sha256 (hex) of the ingredients' canonical JSON: sorted keys, no spaces, shortest decimal that keeps a float."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def ingredients_of(kind: StageKind, **parts: Any) -> Ingredients:
    """Ingredients of a stage. What is unset or empty is left out, so that a new optional field changes nothing."""
    return {"kind": str(kind), "version": VERSIONS[kind], **_without_empty(parts)}


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: _without_empty(below) if isinstance(below, dict) else below for key, below in value.items()}
    return {key: below for key, below in kept.items() if below is not None and below != {} and below != []}

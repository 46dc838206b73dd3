"""Reading of raw objects of any kind. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Raw = Mapping[str, Any]


def condition_of(thing: Raw, *types: str) -> Raw | None:
    """The condition of one of these types that is true. Never by position: their order means nothing."""
    for condition in thing.get("status", {}).get("conditions") or []:
        if condition["type"] in types and condition["status"] == "True":
            found: Raw = condition
            return found
    return None


def moment(text: str) -> datetime:
    """A time as the API server writes it."""
    return datetime.fromisoformat(text)


def is_suspended(child: Raw) -> bool:
    """Whether a Job or PyTorchJob is told to have no pods."""
    spec = child.get("spec", {})
    return bool(spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"))


def is_owned_by(thing: Raw, uid: str) -> bool:
    """Whether an object names another as one of its owners."""
    return any(owner["uid"] == uid for owner in thing["metadata"].get("ownerReferences", []))

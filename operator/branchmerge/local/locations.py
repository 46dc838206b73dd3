"""What a location that the user wrote means on this machine."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def is_uri(location: str) -> bool:
    """Whether fsspec opens it, such as `s3://bucket/key`."""
    return "://" in location


def local_path(location: str, inputs: Path) -> Path | None:
    """The file or folder that it names below `inputs`; None for a URI, and where nothing is there.

    What exists here wins over a Hub id of the same name.
    """
    if is_uri(location):
        return None
    path = inputs / location
    return path if path.exists() else None


def may_be_hub_id(location: str) -> bool:
    """Whether it can be the name of a repository of the Hub rather than a path that is not there."""
    return _HUB_ID.fullmatch(location) is not None and not location.startswith(".")

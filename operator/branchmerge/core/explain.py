"""Why a stage runs again: which of its ingredients changed, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_DIGEST = re.compile(r"^(sha256:)?([0-9a-f]{40}|[0-9a-f]{64})$")
_DIGEST_LENGTH = 8
_UPSTREAM = "inputs."
_ABSENT = object()


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each ingredient that differs, such as `training.learningRate: 1e-05 -> 2e-05`.

    `old` are the ingredients of an output that exists (its lineage), `new` those of the stage now. Digests and commits
    are cut to 8 characters; what another stage made goes by its name, as in `train/math: 1a2b3c4d -> 5e6f7a8b`.
    """
    return tuple(_differences("", old, new))


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if _are_objects(old, new):
        before, after = _fields(old), _fields(new)
        for key in sorted(before.keys() | after.keys()):
            where = f"{path}.{key}" if path else key
            yield from _differences(where, before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif _are_lists_of_objects(old, new):
        for index in range(max(len(old), len(new))):
            yield from _differences(f"{path}[{index}]", _at(old, index), _at(new, index))
    elif old != new:
        yield f"{path.removeprefix(_UPSTREAM)}: {_shown(old)} -> {_shown(new)}"


def _are_objects(old: Any, new: Any) -> bool:
    """One of them may be unset: then all of the other's fields are told."""
    return all(isinstance(value, Mapping) or value is _ABSENT for value in (old, new))


def _fields(value: Any) -> Mapping[str, Any]:
    return {} if value is _ABSENT else dict(value)


def _are_lists_of_objects(old: Any, new: Any) -> bool:
    """Lists of plain values, such as betas, are shown as a whole."""
    return all(isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value) for value in (old, new))


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "unset"
    if not isinstance(value, str):
        return json.dumps(value, sort_keys=True)
    digest = _DIGEST.match(value)
    return digest.group(2)[:_DIGEST_LENGTH] if digest else value

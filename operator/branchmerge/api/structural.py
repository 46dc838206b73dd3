"""JSON schema as pydantic writes it -> structural schema as Kubernetes wants it.

Kubernetes knows a part of OpenAPI 3.0: no references, no unions, no constants, exclusive bounds as booleans. What has
an equivalent is converted; any other keyword is an error that names its path, because the API server would ignore it or
refuse the whole definition. Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

KEPT = frozenset(
    {
        "type",
        "description",
        "format",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "maxProperties",
        "required",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
    }
)
"""Keywords that mean the same on both sides."""

DROPPED = frozenset({"title", "default", "$defs"})
"""Keywords without a place in the definition. A default would show up in every object of a user; the descriptions
state it."""

INT_OR_STRING: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
"""The one union that a structural schema may have, in the one form that it may have."""

_INT32 = 2**31 - 1
_RANKS = {"description": -2, "type": -1, "items": 1, "additionalProperties": 1, "properties": 1}
"""Where a keyword stands among the others of a node: what the node is comes first, what lies below it last."""


class SchemaError(ValueError):
    """A model has a part that no structural schema can express."""


def structural(schema: Mapping[str, Any]) -> Schema:
    """The structural schema of a JSON schema whose references are in its `$defs`.

    Raises SchemaError for a keyword without an equivalent, and for a string, list or map without a bound, because the
    API server estimates what a rule over it may cost.
    """
    return _converted(schema, schema.get("$defs", {}), "")


def _converted(schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> Schema:
    node = _inlined(schema, defs)
    result: Schema = {}
    if node.get("x-kubernetes-int-or-string"):
        result |= INT_OR_STRING
        node = {key: value for key, value in node.items() if key not in INT_OR_STRING}
    for keyword, value in node.items():
        result |= _keyword(keyword, value, defs, path)
    if result.get("type") == "integer":
        result["format"] = "int32" if result.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    _require_bound(result, path)
    return dict(sorted(result.items(), key=lambda item: _RANKS.get(item[0], 0)))


def _keyword(keyword: str, value: Any, defs: Mapping[str, Any], path: str) -> Schema:
    match keyword:
        case "properties":
            return {keyword: {name: _converted(below, defs, f"{path}.{name}") for name, below in value.items()}}
        case "items":
            return {keyword: _converted(value, defs, f"{path}[]")}
        case "additionalProperties":
            return _additional(value, defs, path)
        case "const":
            return {"enum": [value]}
        case "exclusiveMinimum" | "exclusiveMaximum":
            return {keyword.removeprefix("exclusive").lower(): _plain(value), keyword: True}
        case _ if keyword in KEPT:
            return {keyword: _plain(value)}
        case _ if keyword in DROPPED:
            return {}
        case _:
            raise SchemaError(f"{path or '.'}: a structural schema has no keyword {keyword!r} (value {value!r})")


def _inlined(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    """The schema with its reference resolved and without `null`; what stands beside a reference adds to it."""
    node = dict(schema)
    if "$ref" in node:
        target = defs[node.pop("$ref").removeprefix("#/$defs/")]
        return _joined(_inlined(target, defs), node)
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        del node["anyOf"]
        return _joined(_inlined(options[0], defs), node)
    return node


def _joined(below: Schema, above: Schema) -> Schema:
    rules = [*below.get("x-kubernetes-validations", []), *above.get("x-kubernetes-validations", [])]
    return {**below, **above, **({"x-kubernetes-validations": rules} if rules else {})}


def _additional(value: Any, defs: Mapping[str, Any], path: str) -> Schema:
    """`additionalProperties`: False needs no word, for a structural schema prunes what it does not name."""
    if value is False:
        return {}
    if value is True:
        raise SchemaError(f"{path or '.'}: a map of anything is not pruned and not checked: give its values a type")
    return {"additionalProperties": _converted(value, defs, f"{path}{{}}")}


def _plain(value: Any) -> Any:
    """Whole numbers without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_bound(schema: Schema, path: str) -> None:
    match schema:
        case {"type": "string"} if not schema.keys() & {"maxLength", "enum", "format"}:
            missing = "maxLength"
        case {"type": "array"} if "maxItems" not in schema:
            missing = "maxItems"
        case {"additionalProperties": _} if "maxProperties" not in schema:
            missing = "maxProperties"
        case _:
            return
    raise SchemaError(f"{path}: needs {missing}, for the API server estimates the cost of rules by it")

"""One clear line for each thing that is wrong with what a user wrote."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError


class InputError(ValueError):
    """The user's input is wrong. Its text names the field or file, the value and the fix."""


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """The problems of a document, each as `field: what is wrong: what to do`, in the order of the document."""
    return [_line(problem, model) for problem in error.errors(include_url=False)]


def _line(problem: Any, model: type[BaseModel]) -> str:
    location: tuple[str | int, ...] = problem["loc"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            message = f"unknown field{_suggestion(location, model)}"
        case "missing":
            message = "required, but missing: add it"
        case "value_error":
            if location and _starts_with_field(message):
                return f"{_path(location)}.{message}"
        case _:
            message = f"{message}, not {problem['input']!r}"
    return f"{_path(location)}: {message}" if location else message


def _starts_with_field(message: str) -> bool:
    """Whether a validator's message begins with the path of the field that is wrong, below the validated object."""
    head, separator, _ = message.partition(": ")
    return bool(separator) and " " not in head


def _path(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _suggestion(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    known = _field_names(location[:-1], model)
    close = get_close_matches(str(location[-1]), known, n=1)
    if close:
        return f": did you mean {close[0]}?"
    return f": use one of {', '.join(sorted(known))}" if known else ": remove it"


def _field_names(location: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    """Names of the fields at `location`, found in the model's JSON schema."""
    schema = model.model_json_schema(by_alias=True)
    node: Any = schema
    for part in location:
        node = _resolve(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: Any, schema: Any) -> Any:
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        else:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
    return node

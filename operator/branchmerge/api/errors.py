"""One clear line for each thing that is wrong with what a user wrote: where, what, and what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from branchmerge.api.base import PATTERN_HINTS

SHOWN_CHARACTERS = 60
"""A longer value is cut in a message."""

_MESSAGES = {
    "missing": "required, but missing: add it",
    "enum": "{value} is unknown: use {expected}",
    "literal_error": "{value} is unknown: use {expected}",
    "greater_than": "{value} is too small: use more than {gt}",
    "greater_than_equal": "{value} is too small: use {ge} or more",
    "less_than": "{value} is too large: use less than {lt}",
    "less_than_equal": "{value} is too large: use {le} or less",
    "too_short": "has {actual_length} entries: give {min_length} or more",
    "too_long": "has {actual_length} entries: give {max_length} or fewer",
    "string_too_short": "{value} is too short: use {min_length} characters or more",
    "string_too_long": "{value} is too long: use {max_length} characters or fewer",
    "string_pattern_mismatch": "{value} does not fit: use {hint}",
    "string_type": "{value} is no text: put it in quotes",
    "int_type": "{value} is no whole number: write one, without quotes",
    "float_type": "{value} is no number: write one, without quotes",
    "finite_number": "{value} is no finite number: write one",
    "bool_type": "{value} is neither true nor false: write one of them",
    "list_type": "{value} is no list: write entries that begin with a dash",
    "dict_type": "{value} is no map: write `name: value` pairs",
    "model_type": "{value} is no map: write `name: value` pairs",
}
"""What is said of an error of pydantic, by its type; anything else keeps pydantic's words."""


class InputError(ValueError):
    """The user's input is wrong. Its text names the field or file, the value and the fix."""


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """The problems of a document, each as `field: what is wrong: what to do`, in the order of the document."""
    return [_line(problem, model) for problem in error.errors(include_url=False)]


def _line(problem: Any, model: type[BaseModel]) -> str:
    location: tuple[str | int, ...] = problem["loc"]
    message = _message(problem, model)
    if not location:
        return message
    below = problem["type"] == "value_error" and _starts_with_field(message)
    return f"{_path(location)}.{message}" if below else f"{_path(location)}: {message}"


def _message(problem: Any, model: type[BaseModel]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown field{_suggestion(problem['loc'], model)}"
        case "value_error":
            return str(problem["ctx"]["error"])
    context, value = problem.get("ctx", {}), shown(problem["input"])
    template = _MESSAGES.get(problem["type"])
    if template is None:
        return f"{problem['msg']}, not {value}"
    pattern = context.get("pattern", "")
    return template.format(**context, value=value, hint=PATTERN_HINTS.get(pattern, f"text that matches {pattern}"))


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _starts_with_field(message: str) -> bool:
    """Whether a validator's message begins with the path of the field that is wrong, below the validated object."""
    head, separator, _ = message.partition(": ")
    return bool(separator) and " " not in head and not head.startswith(("'", '"'))


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
    schema = model.model_json_schema()
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

"""One shape for every row: a list of `{role, content}` messages that ends with the assistant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchmerge.api.data import Columns

ROWS_FILE = "rows.jsonl"
"""Of a curation's output: one `{"messages": [...]}` a line."""

ROLES = ("system", "user", "assistant")

Message = dict[str, str]


class RowError(ValueError):
    """A row that cannot be used. Its text says what is wrong with it."""


class UnusableRow(Exception):  # noqa: N818 - counted, not an error
    """A well-formed row without anything to learn. `reason` is what it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def messages_of(row: Mapping[str, Any], columns: Columns) -> list[Message]:
    """The row's messages.

    Raises RowError where its columns are not there or of another type, UnusableRow where there is nothing to learn.
    """
    if columns.messages is None:
        assert columns.prompt is not None, "validated: prompt and completion where there is no messages"
        assert columns.completion is not None, "validated: prompt and completion where there is no messages"
        prompt, completion = _text(row, columns.prompt), _text(row, columns.completion)
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    else:
        messages = [message_of(entry, index) for index, entry in enumerate(_list(row, columns.messages))]
    return _usable(messages)


def _usable(messages: list[Message]) -> list[Message]:
    if not messages:
        raise UnusableRow("empty")
    if messages[-1]["role"] != "assistant":
        raise UnusableRow("no answer")
    if not messages[-1]["content"].strip():
        raise UnusableRow("empty answer")
    return messages


def _list(row: Mapping[str, Any], column: str) -> list[Any]:
    value = _cell(row, column)
    if not isinstance(value, list):
        raise RowError(f"column {column!r} is {_shown(value)}, not a list of messages")
    return value


def _text(row: Mapping[str, Any], column: str) -> str:
    value = _cell(row, column)
    if not isinstance(value, str):
        raise RowError(f"column {column!r} is {_shown(value)}, not text")
    return value


def _cell(row: Mapping[str, Any], column: str) -> Any:
    if column not in row or row[column] is None:
        raise RowError(f"no column {column!r}; it has {', '.join(map(repr, row)) or 'none'}: set columns")
    return row[column]


def message_of(entry: Any, index: int) -> Message:
    """A `{role, content}` entry. Raises RowError where it is none; `index` is its place in the row."""
    if not isinstance(entry, Mapping) or "role" not in entry or "content" not in entry:
        raise RowError(f"message {index} is {_shown(entry)}, not {{role, content}}")
    role, content = entry["role"], entry["content"]
    if role not in ROLES:
        raise RowError(f"message {index} has the role {role!r}: use one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise RowError(f"message {index} has content {_shown(content)}, not text")
    return {"role": role, "content": content}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

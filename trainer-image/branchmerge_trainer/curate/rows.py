"""One shape for every row: a list of `{role, content}` messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchmerge.api.data import Columns, Source

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
    """The messages of a complete row: they end with the assistant's answer.

    Raises RowError where its columns are not there or of another type, UnusableRow where there is nothing to learn.
    """
    if columns.messages is None:
        assert columns.prompt is not None, "validated: prompt and completion where there is no messages"
        assert columns.completion is not None, "validated: prompt and completion where there is no messages"
        prompt, completion = _text(row, columns.prompt), _text(row, columns.completion)
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    else:
        messages = _entries(_list(row, columns.messages))
    _ending_with(messages, "assistant", "answer")
    if all(message["role"] != "user" for message in messages):
        raise UnusableRow("no question")
    return messages


def prompt_of(row: Mapping[str, Any], column: str) -> list[Message]:
    """The messages of a prompt, which its column holds as a text or as a list; they end with the user's question.

    Raises RowError where the column is not there or of another type, UnusableRow where there is nothing to answer.
    """
    value = _cell(row, column)
    messages = [{"role": "user", "content": value}] if isinstance(value, str) else _entries(_list(row, column))
    return _ending_with(messages, "user", "question")


def fields_of(row: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The columns that are not the conversation itself, such as a reference answer."""
    if source.prompts is not None:
        taken = {source.prompts.column}
    else:
        columns = source.resolved_columns
        taken = {name for name in (columns.messages, columns.prompt, columns.completion) if name is not None}
    return {name: value for name, value in row.items() if name not in taken}


def _entries(values: list[Any]) -> list[Message]:
    return [message_of(entry, index) for index, entry in enumerate(values)]


def _ending_with(messages: list[Message], role: str, what: str) -> list[Message]:
    if not messages:
        raise UnusableRow("empty")
    if messages[-1]["role"] != role:
        raise UnusableRow(f"no {what}")
    if not messages[-1]["content"].strip():
        raise UnusableRow(f"empty {what}")
    if not all(map(_is_unicode, messages)):
        raise UnusableRow("broken characters")
    return messages


def _is_unicode(message: Message) -> bool:
    """Whether the text can be written: JSON may spell half a character, such as `\\ud83d` alone."""
    try:
        message["content"].encode()
    except UnicodeEncodeError:
        return False
    return True


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
    if column in row and row[column] is None:
        raise RowError(f"column {column!r} is null: write it, or remove the row")
    if column not in row:
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

"""Looks at the first rows of data files, so that a wrong column is known before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from branchmerge.api.data import Columns
from branchmerge.api.evaluation import ScoreMethod, Suite

_LOOKED_AT = 50
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_PARQUET_MAGIC = b"PAR1"
_FORMATS = frozenset({".jsonl", ".ndjson", ".json", ".parquet"})


def data_problem(file: Path, columns: Columns) -> str | None:
    """The first thing that is wrong with a branch's data file, as far as its first rows tell; None where nothing is."""
    if file.is_dir():
        return f"{file}: is a folder: name one file, and add a source for each other"
    suffixes = [suffix for suffix in file.suffixes[-2:] if suffix in _FORMATS]
    if not suffixes:
        return f"{file}: unknown file format: use {', '.join(sorted(_FORMATS))}"
    if file.stat().st_size == 0:
        return f"{file}: is empty: name a file that has rows"
    if file.suffix == ".parquet":
        with file.open("rb") as stream:
            return None if stream.read(4) == _PARQUET_MAGIC else f"{file}: is no Parquet file: name the right file"
    if file.suffix not in _JSON_LINES:
        return None  # compressed, or one JSON document: the curation reads it whole
    return _first_problem(file, lambda row: _columns_problem(row, columns))


def suite_problem(file: Path, suite: Suite) -> str | None:
    """The first thing that is wrong with a suite's questions, as far as the first rows tell; None where nothing is."""
    if file.is_dir():
        return f"{file}: is a folder: name one JSONL file"
    return _first_problem(file, lambda row: _question_problem(row, suite))


def _first_problem(file: Path, check: Any) -> str | None:
    count = 0
    try:
        for number, row in islice(_rows(file), _LOOKED_AT):
            count += 1
            if not isinstance(row, dict):
                return f"{file}:{number}: is no JSON object: put one row a line"
            if problem := check(row):
                return f"{file}:{number}: {problem}"
    except UnicodeDecodeError:
        return f"{file}: is no UTF-8 text: save it as UTF-8"
    return None if count else f"{file}: is empty: name a file that has rows"


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, row); a line that is no JSON comes as None."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError:
                yield number, None


def _columns_problem(row: Mapping[str, Any], columns: Columns) -> str | None:
    for column in filter(None, (columns.messages, columns.prompt, columns.completion)):
        if row.get(column) is None:
            names = ", ".join(map(repr, row)) or "none"
            return f"has no column {column!r}: it has {names}: set the source's columns"
    if columns.messages is None:
        return None
    messages = row[columns.messages]
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        return f"column {columns.messages!r} is no list of {{role, content}}: mend the row, or set the source's columns"
    return None


def _question_problem(row: Mapping[str, Any], suite: Suite) -> str | None:
    if row.get("prompt") is None and row.get("messages") is None:
        return "has neither prompt nor messages: add the question"
    needed = ["id", "answer", *(["choices"] if suite.method is ScoreMethod.CHOICE else [])]
    for key in needed:
        if row.get(key) is None:
            return f"has no {key!r}: add it, each question needs {', '.join(needed)}"
    return None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value

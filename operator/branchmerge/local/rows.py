"""Looks at the rows of data files, so that a wrong column is known before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from branchmerge.api.data import Columns, Source
from branchmerge.api.evaluation import ScoreMethod, Suite
from branchmerge.api.verification import Verify

_LOOKED_AT = 50
"""Rows of a branch's data; the rest is looked at by its curation, which comes first. Of a suite all are: it is read
only when everything is trained."""
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_PARQUET = ".parquet"
_PARQUET_MAGIC = b"PAR1"

Check = Callable[[Mapping[str, Any]], str | None]
"""A row's problem, None where it has none."""


def data_problem(file: Path, source: Source, verify: Verify | None) -> str | None:
    """The first thing that is wrong with a branch's data file, as far as its first rows tell; None where nothing is."""
    needed = () if verify is None else verify.needed_columns

    def problem_of(row: Mapping[str, Any]) -> str | None:
        if source.prompts is None:
            problem = _columns_problem(row, source.resolved_columns)
        else:
            problem = _prompt_problem(row, source.prompts.column)
        return problem or _missing_column(row, needed, "set the columns of verify")

    return _first_problem(file, problem_of, _LOOKED_AT)


def count_rows(file: Path) -> int | None:
    """Rows of a data file, None where that cannot be told at once."""
    if file.suffix not in _JSON_LINES:
        return None
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def suite_problem(file: Path, suite: Suite) -> str | None:
    """The first thing that is wrong with a suite's questions; None where nothing is."""
    seen: set[str] = set()
    return _first_problem(file, lambda row: _question_problem(row, suite, seen), None)


def _first_problem(file: Path, check: Check, limit: int | None) -> str | None:
    formats = {*_JSON_LINES, _PARQUET}
    if not formats.intersection(file.suffixes[-2:]):  # the last may be a compression: `.jsonl.gz`
        return f"{file}: unknown file format: use {', '.join(sorted(formats))}"
    if file.is_dir():
        return f"{file}: is a folder: name one file"
    if file.stat().st_size == 0:
        return f"{file}: is empty: name a file that has rows"
    if file.suffix == _PARQUET:
        with file.open("rb") as stream:
            return None if stream.read(4) == _PARQUET_MAGIC else f"{file}: is no Parquet file: name the right one"
    return _first_bad_row(file, check, limit) if file.suffix in _JSON_LINES else None


def _first_bad_row(file: Path, check: Check, limit: int | None) -> str | None:
    count = 0
    try:
        for number, row in islice(_rows(file), limit):
            count += 1
            problem = check(row) if isinstance(row, dict) else "is no JSON object: write one row a line"
            if problem:
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
    named = tuple(filter(None, (columns.messages, columns.prompt, columns.completion)))
    missing = _missing_column(row, named, "set the source's columns")
    if missing or columns.messages is None:
        return missing
    if not _are_messages(row[columns.messages]):
        return f"column {columns.messages!r} is no list of {{role, content}}: mend the row, or set the source's columns"
    return None


def _prompt_problem(row: Mapping[str, Any], column: str) -> str | None:
    missing = _missing_column(row, (column,), "set prompts.column")
    if (
        missing
        or (isinstance(row[column], str) and row[column].strip())
        or (row[column] and _are_messages(row[column]))
    ):
        return missing
    return f"column {column!r} is neither a text nor a list of {{role, content}}: mend the row, or set prompts.column"


def _missing_column(row: Mapping[str, Any], columns: Sequence[str], fix: str) -> str | None:
    for column in columns:
        if row.get(column) is None:
            names = ", ".join(map(repr, row)) or "none"
            return f"has no column {column!r}: it has {names}: {fix}"
    return None


def _question_problem(row: Mapping[str, Any], suite: Suite, seen: set[str]) -> str | None:
    if (row.get("prompt") is None) == (row.get("messages") is None):
        return "needs exactly one of prompt and messages: write the question into one of them"
    runs = suite.method is ScoreMethod.CODE
    if runs and not row.get("tests"):
        return f"'tests' is {row.get('tests')!r}: write the tests that an answer must pass"
    for key in ("id",) if runs else ("id", "answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            return f"{key!r} is {row.get(key)!r}: write a text that is not empty"
    if "choices" in row and suite.method is not ScoreMethod.CHOICE:
        return f"has 'choices', which the method {suite.method} does not use: use the method choice"
    if row["id"] in seen:
        return f"the id {row['id']!r} is there twice: give each question its own"
    seen.add(row["id"])
    return None


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value

"""What a row says is right: its columns, as the methods compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchmerge.api.errors import shown
from branchmerge.api.verification import Verify, VerifyMethod
from branchmerge_trainer.curate.rows import RowError
from branchmerge_trainer.verify.coding import CodeTests, CodeTestsError, code_tests
from branchmerge_trainer.verify.text import reference_letter

Row = Mapping[str, Any]


def check_columns(row: Row, verify: Verify) -> None:
    """Raises RowError where a column that the method needs is not there, or empty; what it holds is read later."""
    field = "tests" if verify.method is VerifyMethod.CODE else "reference"
    for column in verify.needed_columns:
        _cell(row, column, field)


def reference(row: Row, verify: Verify) -> str:
    """The reference answer; a number is written out. Raises RowError."""
    value = _cell(row, verify.reference, "reference")
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise RowError(f"column {verify.reference!r} is {shown(value)}: write an answer, as a text or a number")
    return str(value)


def letter_and_choices(row: Row, verify: Verify) -> tuple[str, tuple[str, ...]]:
    """The letter of the right choice, and the choices, none where the row has no such column. Raises RowError."""
    choices = row.get(verify.choices)
    if choices is None:
        choices = []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise RowError(f"column {verify.choices!r} is {shown(choices)}: write a list of texts")
    try:
        return reference_letter(reference(row, verify), tuple(choices)), tuple(choices)
    except RowError:
        raise
    except ValueError as error:
        raise RowError(f"column {verify.reference!r} {error}") from None


def tests(row: Row, verify: Verify) -> CodeTests:
    """The tests of a coding question. Raises RowError."""
    try:
        return code_tests(_cell(row, verify.tests, "tests"), row)
    except CodeTestsError as error:
        raise RowError(f"column {verify.tests!r} {error}") from None


def _cell(row: Row, column: str, field: str) -> Any:
    if column in row and row[column] is None:
        raise RowError(f"column {column!r} is null: write it, or remove the row")
    if column not in row:
        has = ", ".join(map(repr, row)) or "no other"
        raise RowError(f"column {column!r} is missing (it has {has}): add it, or name another in data.verify.{field}")
    return row[column]

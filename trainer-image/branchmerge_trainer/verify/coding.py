"""The tests of a coding question, in the forms that data sets write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from branchmerge.api.errors import shown

_FUNCTION_NAMES = ("fn_name", "func_name")


@dataclass(frozen=True)
class Case:
    """One test: what the program is given, and what must come out."""

    given: str
    """Standard input; of a function, its arguments as JSON, one a line."""
    accepted: tuple[Any, ...]
    """Standard output; of a function, the value that it must return, as JSON has it. Any of these is right."""


@dataclass(frozen=True)
class CodeTests:
    """The tests of one question."""

    cases: tuple[Case, ...]
    function: str | None
    """The function, or method of a class `Solution`, that is called; None where the program reads and prints."""


class CodeTestsError(ValueError):
    """What is wrong with a row's tests, and what to write."""


def code_tests(value: Any, row: Mapping[str, Any]) -> CodeTests:
    """The tests in a column of a row.

    Two forms, as JSON text or as objects: `{"inputs": […], "outputs": […], "fn_name": …}` of APPS, TACO and
    OpenThoughts, and `[{"input", "output", "testtype"}]` of LiveCodeBench, whose function is named by the row's
    `func_name`, or in its `metadata`.

    Raises CodeTestsError.
    """
    found = _loaded(value)
    if isinstance(found, Mapping):
        return _columns_form(found, row)
    if isinstance(found, list):
        return _list_form(found, row)
    raise CodeTestsError(f'holds {shown(found)}: write {{"inputs": […], "outputs": […]}} or [{{"input", "output"}}]')


def _columns_form(found: Mapping[str, Any], row: Mapping[str, Any]) -> CodeTests:
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise CodeTestsError("needs the lists 'inputs' and 'outputs'")
    if len(inputs) != len(outputs):
        raise CodeTestsError(f"has {len(inputs)} inputs, but {len(outputs)} outputs: write one for each")
    function = _function(found) or _function(row)
    read = _printed if function is None else _called
    return _tests([read(given, expected) for given, expected in zip(inputs, outputs, strict=True)], function)


def _list_form(found: list[Any], row: Mapping[str, Any]) -> CodeTests:
    for number, case in enumerate(found):
        if not isinstance(case, Mapping) or "input" not in case or "output" not in case:
            raise CodeTestsError(f"test {number} is {shown(case)}: write {{input, output}}")
    kinds = {str(case.get("testtype", "stdin")) for case in found}
    if kinds <= {"stdin"}:
        return _tests([_printed(case["input"], case["output"]) for case in found], None)
    if kinds != {"functional"}:
        raise CodeTestsError(f"has tests of the types {', '.join(sorted(kinds))}: use stdin alone, or functional alone")
    function = _function(row) or _function(_metadata(row))
    if function is None:
        raise CodeTestsError("calls a function that nothing names: add func_name to the row")
    return _tests([_called(case["input"], case["output"]) for case in found], function)


def _tests(cases: list[Case], function: str | None) -> CodeTests:
    if not cases:
        raise CodeTestsError("holds no test: add one")
    return CodeTests(tuple(cases), function)


def _printed(given: Any, expected: Any) -> Case:
    return Case(_lines(given), (_lines(expected),))


def _called(given: Any, expected: Any) -> Case:
    """LiveCodeBench writes arguments as lines of JSON, and the value as JSON; the others write both as they are.

    APPS puts many a value into a list of its own.
    """
    if isinstance(given, str) and isinstance(expected, str):
        try:
            return Case(given, (json.loads(expected),))
        except ValueError:
            raise CodeTestsError(f"expects {shown(expected)}, which is no JSON") from None
    if not isinstance(given, list):
        raise CodeTestsError(f"calls with {shown(given)}: write a list of arguments")
    only = expected if isinstance(expected, list) and len(expected) == 1 else []
    return Case("\n".join(json.dumps(argument) for argument in given), (expected, *only))


def _lines(value: Any) -> str:
    """A text, or a list of its lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise CodeTestsError(f"has {shown(value)} where a program reads or prints: write a text, or a list of lines")
    return value


def _function(row: Mapping[str, Any]) -> str | None:
    named = [row[name] for name in _FUNCTION_NAMES if row.get(name)]
    if named and not (isinstance(named[0], str) and named[0].isidentifier()):
        raise CodeTestsError(f"calls {shown(named[0])}: write the name of a function")
    return named[0] if named else None


def _metadata(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """As an object; a column of the name may as well hold anything else."""
    try:
        found = _loaded(row.get("metadata"))
    except CodeTestsError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise CodeTestsError(f"is {shown(value)}, which is no JSON: {error}") from None

"""Whether a program passes the tests of its question."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any

from branchmerge.api.errors import shown
from branchmerge_trainer.sandbox.program import Ending, Limits, Program, Run
from branchmerge_trainer.sandbox.sandbox import Sandbox
from branchmerge_trainer.verify.coding import Case, CodeTests
from branchmerge_trainer.verify.programs import calling_program, last_code, reading_program
from branchmerge_trainer.verify.verdict import Reason, Verdict

_NO_CODE = Verdict(Reason.NO_ANSWER, None, "no fenced block of code")
_DETAIL_CHARACTERS = 200
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Decimal reads more: `1_0`, and the digits of every script."""


def score_code(text: str, tests: CodeTests, sandbox: Sandbox, seconds: float) -> Verdict:
    """Run the last fenced block of the text on each test, until one fails; `seconds` are for all of them together."""
    code = last_code(text)
    if code is None or not code.strip():
        return _NO_CODE
    source = reading_program(code) if tests.function is None else calling_program(code, tests.function)
    remaining = seconds
    for number, case in enumerate(tests.cases):
        run = sandbox.run(Program(source, case.given), _within(remaining))
        remaining -= run.seconds
        reason, detail = _judged(run, case, tests)
        if reason is not None:
            return Verdict(reason, code, f"test {number + 1} of {len(tests.cases)}: {detail}"[:_DETAIL_CHARACTERS])
        if remaining <= 0 and number + 1 < len(tests.cases):
            return Verdict(Reason.TIMED_OUT, code, f"{number + 1} of {len(tests.cases)} tests took {seconds:g} s")
    return Verdict(None, code)


def _within(seconds: float) -> Limits:
    return replace(Limits(), wall_seconds=seconds, cpu_seconds=max(1, math.ceil(seconds)))


def _judged(run: Run, case: Case, tests: CodeTests) -> tuple[Reason | None, str]:
    match run.ending:
        case Ending.TIMED_OUT:
            return Reason.TIMED_OUT, f"ran for {run.seconds:.1f} s"
        case Ending.KILLED:
            return Reason.CRASHED, run.stderr.strip() or f"ended by signal {-run.code}"
        case Ending.EXITED:
            pass
        case _:
            return Reason.OVER_A_LIMIT, run.ending
    if not run.succeeded:
        last = run.stderr.strip().splitlines()
        return Reason.CRASHED, last[-1] if last else f"exit code {run.code}"
    same, printed = same_output if tests.function is None else same_value, run.stdout.strip()
    right = any(same(printed, expected) for expected in case.accepted)
    return (None, "") if right else (Reason.WRONG, f"{shown(printed)}, not {shown(case.accepted[0])}")


def same_output(printed: str, expected: str) -> bool:
    """Equal line by line, white space around each apart; a line of numbers may write them otherwise.

    Source: LiveCodeBench, `testing_util.py`.
    """
    ours, theirs = _stripped_lines(printed), _stripped_lines(expected)
    return len(ours) == len(theirs) and all(map(_same_line, ours, theirs))


def same_value(printed: str, expected: object) -> bool:
    """A function's value, printed as JSON, is equal to what is expected. Tuples count as lists; truth is no number."""
    try:
        return _equal(json.loads(printed), expected)
    except (ValueError, RecursionError):  # no JSON, or nested so deeply that nobody expects it
        return False


def _equal(ours: Any, theirs: Any) -> bool:
    match ours, theirs:
        case (bool(), _) | (_, bool()):  # to Python, True is 1
            return ours is theirs
        case list(), list():
            return len(ours) == len(theirs) and all(map(_equal, ours, theirs))
        case dict(), dict():
            return ours.keys() == theirs.keys() and all(_equal(ours[key], theirs[key]) for key in ours)
        case _:
            return bool(ours == theirs)


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_line(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    words = ours.split(), theirs.split()
    try:
        return all(map(_NUMBER.fullmatch, chain(*words))) and _numbers(words[0]) == _numbers(words[1])
    except InvalidOperation:  # an exponent that nobody can hold
        return False


def _numbers(words: Sequence[str]) -> list[Decimal]:
    return [Decimal(word) for word in words]

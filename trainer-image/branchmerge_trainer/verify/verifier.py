"""Says of a candidate whether its answer is right, by the method of the branch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from branchmerge.api.errors import InputError
from branchmerge.api.verification import Verify, VerifyMethod
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.rows import RowError
from branchmerge_trainer.sandbox.errors import SandboxError
from branchmerge_trainer.sandbox.sandbox import Sandbox
from branchmerge_trainer.verify.code import score_code
from branchmerge_trainer.verify.judge_process import JudgeProcesses
from branchmerge_trainer.verify.math_judge import MathJudge
from branchmerge_trainer.verify.references import Row, letter_and_choices, reference, tests
from branchmerge_trainer.verify.text import final_text, score_choice, score_exact, score_regex
from branchmerge_trainer.verify.verdict import NO_END_OF_TRACE, Verdict

Place = Callable[[Candidate], str]
"""Where a candidate comes from, as a message to the user names it."""


class Verifier(Protocol):
    """Judges answers, several at the same time: `judge` may be called from `workers` threads.

    A method that asks elsewhere, such as another model, keeps its own event loop and has as many workers as questions
    that it asks at the same time.
    """

    @property
    def workers(self) -> int:
        """How many threads may ask it."""
        ...

    def judge(self, candidate: Candidate) -> Verdict:
        """The verdict on its answer. Raises InputError where its row lacks what the answer is compared with."""
        ...


_Scoring = Callable[[str, Row], Verdict]
"""Of the final text of an answer, with the row that it is of. Raises RowError."""


@dataclass(frozen=True)
class _MethodVerifier:
    """Takes the final text of an answer, and asks a method."""

    score: _Scoring
    workers: int
    place: Place

    def judge(self, candidate: Candidate) -> Verdict:
        text = final_text("", candidate.answer)
        try:
            return NO_END_OF_TRACE if text is None else self.score(text, candidate.fields)
        except RowError as error:
            raise InputError(f"{self.place(candidate)}: {error}") from None


class _AcceptsAll:
    """Method `none`."""

    workers = 1

    def judge(self, _candidate: Candidate) -> Verdict:
        return Verdict(None, None)


def place_of(candidate: Candidate) -> str:
    """Its source by number, and its row."""
    return f"data.sources[{candidate.source}], row {candidate.row}"


@contextmanager
def open_verifier(verify: Verify, place: Place = place_of, workers: int | None = None) -> Iterator[Verifier]:
    """A verifier of any method but `judge`, whose other model is asked by a verifier of its own.

    Args:
        verify: the branch's `data.verify`.
        place: names a candidate's source and row to the user.
        workers: answers judged at the same time, where judging takes a process; default: one a core.

    Raises:
        InputError: method `code`, and this machine cannot isolate programs.
    """
    workers = workers or len(os.sched_getaffinity(0))
    match verify.method:
        case VerifyMethod.MATH:
            with MathJudge(workers=workers) as judge:
                yield _MethodVerifier(lambda text, row: judge.judge(text, reference(row, verify)), workers, place)
        case VerifyMethod.REGEX:
            with JudgeProcesses(score_regex, _nothing, verify.timeout_seconds, workers) as judges:
                yield _MethodVerifier(_regex(verify, judges), workers, place)
        case VerifyMethod.CODE:
            with open_sandbox(workers, "data.verify", allow_unsandboxed=verify.allow_unsandboxed) as sandbox:
                yield _MethodVerifier(_code(verify, sandbox), workers, place)
        case VerifyMethod.EXACT:
            yield _MethodVerifier(lambda text, row: score_exact(text, reference(row, verify)), 1, place)
        case VerifyMethod.CHOICE:
            yield _MethodVerifier(lambda text, row: score_choice(text, *letter_and_choices(row, verify)), 1, place)
        case VerifyMethod.NONE:
            yield _AcceptsAll()
        case VerifyMethod.JUDGE:
            raise AssertionError("the verifier of another model is opened by whoever knows its endpoint")


@contextmanager
def open_sandbox(workers: int, field: str, *, allow_unsandboxed: bool) -> Iterator[Sandbox]:
    """A sandbox. Raises InputError, naming the field that would allow it, where programs cannot be isolated."""
    try:
        sandbox = Sandbox(workers=workers, allow_unsandboxed=allow_unsandboxed)
    except SandboxError as error:
        raise InputError(
            f"{field}: {error}: run it on a newer kernel, or set allowUnsandboxed: true where programs may do harm"
        ) from None
    with sandbox:
        yield sandbox


def _regex(verify: Verify, judges: JudgeProcesses) -> _Scoring:
    pattern = verify.pattern
    assert pattern is not None, "validated: method regex has a pattern"
    grouped = re.compile(pattern).groups > 0
    return lambda text, row: judges.judge(text, pattern, reference(row, verify) if grouped else None)


def _code(verify: Verify, sandbox: Sandbox) -> _Scoring:
    return lambda text, row: score_code(text, tests(row, verify), sandbox, verify.timeout_seconds)


def _nothing() -> None:
    """A pattern needs no preparation."""

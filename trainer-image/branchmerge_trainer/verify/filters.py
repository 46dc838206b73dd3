"""Keeps what is right: verdicts, pass rates, and the choice among the answers to one prompt. All of them stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from branchmerge.api.verification import Select, SelectStrategy, Verify
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.verify.parallel import in_order
from branchmerge_trainer.verify.verdict import Verdict
from branchmerge_trainer.verify.verifier import Verifier

Judged = tuple[Candidate, Verdict]
PassRate = Callable[[int, int], None]
"""Told of each prompt how many of its answers are right, and how many were wanted."""
SamplesOf = Callable[[Candidate], int]
"""How many answers were wanted to a candidate's prompt."""

TOO_HARD = "pass rate below minPassRate"
TOO_EASY = "pass rate above maxPassRate"
NOT_SELECTED = "another answer to its prompt was kept"


def verified(
    candidates: Iterable[Candidate],
    verifier: Verifier,
    verify: Verify,
    drop: Drop,
    samples_of: SamplesOf,
    pass_rate: PassRate = lambda _right, _of: None,
) -> Iterator[Candidate]:
    """Those that are right, of prompts whose pass rate is within its limits, in order.

    The answers to one prompt come together; they are judged side by side, also with those to others.
    Raises InputError where a row lacks what its answer is compared with.
    """
    judged = in_order(lambda candidate: (candidate, verifier.judge(candidate)), candidates, verifier.workers)
    return passed(judged, verify, drop, samples_of, pass_rate)


def passed(
    judged: Iterable[Judged],
    verify: Verify,
    drop: Drop,
    samples_of: SamplesOf,
    pass_rate: PassRate = lambda _right, _of: None,
) -> Iterator[Candidate]:
    """The same of candidates with their verdicts, as a judge gives them.

    An answer that is not among them, such as one that was cut off, counts as not right.
    """
    for _, group in groupby(judged, key=lambda pair: pair[0].prompt):
        answers = list(group)
        right = [candidate for candidate, verdict in answers if verdict.correct]
        wanted = samples_of(answers[0][0])
        pass_rate(len(right), wanted)
        _drop_wrong(answers, drop)
        excluded = _excluded(len(right) / wanted, verify)
        if excluded is None:
            yield from right
            continue
        for candidate in right:
            drop(excluded, candidate, f"{len(right)} of {wanted} answers are right")


def selected(candidates: Iterable[Candidate], select: Select, drop: Drop) -> Iterator[Candidate]:
    """Of the answers to each prompt as many as are wanted, in order. The answers to one prompt come together."""
    for _, group in groupby(candidates, key=lambda candidate: candidate.prompt):
        answers = list(group)
        wanted = sorted(answers, key=_length) if select.strategy is SelectStrategy.SHORTEST_CORRECT else answers
        kept = {id(candidate) for candidate in wanted[: select.max_per_prompt]}
        for candidate in answers:
            if id(candidate) in kept:
                yield candidate
            else:
                drop(NOT_SELECTED, candidate)


def _drop_wrong(answers: Iterable[Judged], drop: Drop) -> None:
    for candidate, verdict in answers:
        if verdict.reason is not None:
            drop(verdict.reason, candidate, verdict.detail or verdict.prediction or "")


def _excluded(rate: float, verify: Verify) -> str | None:
    if verify.min_pass_rate is not None and rate < verify.min_pass_rate:
        return TOO_HARD
    if verify.max_pass_rate is not None and rate > verify.max_pass_rate:
        return TOO_EASY
    return None


def _length(candidate: Candidate) -> int:
    """In tokens, or in characters where they were not counted."""
    return len(candidate.answer) if candidate.tokens is None else candidate.tokens

"""What is right goes on, in order; every other candidate is counted with its reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.verification import Select, Verify
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.verify.filters import NOT_SELECTED, TOO_EASY, TOO_HARD, selected, verified
from branchmerge_trainer.verify.parallel import in_order
from branchmerge_trainer.verify.verifier import open_verifier

Dropped = list[tuple[str, int, int, str]]


def candidate(text: str, row: int = 1, sample: int = 0, **fields: Any) -> Candidate:
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]
    return Candidate(source=0, row=row, messages=messages, sample=sample, fields=fields)


class Drops:
    """Keeps what is dropped."""

    def __init__(self) -> None:
        self.seen: Dropped = []

    def __call__(self, reason: str, candidate: Candidate, detail: str = "") -> None:
        self.seen.append((reason, candidate.row, candidate.sample, detail))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, *_ in self.seen]


def judged(candidates: list[Candidate], wanted: int = 1, **verify: Any) -> tuple[list[Candidate], Drops]:
    drops, settings = Drops(), Verify.model_validate(verify)
    with open_verifier(settings, workers=2) as verifier:
        return list(verified(candidates, verifier, settings, drops, lambda _: wanted)), drops


TESTS = {"inputs": ["2\n"], "outputs": ["4\n"]}
DOUBLES = "```python\nprint(int(input()) * 2)\n```"


@pytest.mark.parametrize(
    ("method", "answer", "fields", "reason"),
    [
        pytest.param("exact", "<think>6*7</think>42", {"answer": "42"}, None, id="exact"),
        pytest.param("exact", "42", {"answer": 42}, None, id="exact, and a number"),
        pytest.param("exact", "41", {"answer": "42"}, "wrong answer", id="exact, but wrong"),
        pytest.param("exact", "<think>42", {"answer": "42"}, "no end of the trace", id="a trace without end"),
        pytest.param("exact", "<think>42</think>", {"answer": "42"}, "no answer", id="nothing after the trace"),
        pytest.param("choice", "It is (B).", {"answer": "b", "choices": ["x", "y"]}, None, id="a letter"),
        pytest.param("choice", "y", {"answer": "y", "choices": ["x", "y"]}, None, id="a choice's text"),
        pytest.param("choice", "The answer is A", {"answer": "B"}, "wrong answer", id="another letter"),
        pytest.param("choice", "well", {"answer": "B"}, "no answer", id="no letter"),
        pytest.param("math", r"so \boxed{\frac12}", {"answer": "0.5"}, None, id="mathematics"),
        pytest.param("math", r"so \boxed{2}", {"answer": 3}, "wrong answer", id="wrong mathematics"),
        pytest.param("code", DOUBLES, {"tests": TESTS}, None, id="code"),
        pytest.param("code", DOUBLES.replace("2", "3"), {"tests": TESTS}, "wrong answer", id="wrong code"),
        pytest.param("code", "no code", {"tests": TESTS}, "no answer", id="no code"),
        pytest.param("code", "```\n1/0\n```", {"tests": TESTS}, "crashed", id="code that fails"),
        pytest.param("code", "```\nwhile 1: 0\n```", {"tests": TESTS}, "timed out", id="code without end"),
        pytest.param("none", "<think>no end", {}, None, id="no method"),
    ],
)
def test_the_methods(method: str, answer: str, fields: dict[str, Any], reason: str | None) -> None:
    kept, drops = judged([candidate(answer, **fields)], method=method, timeoutSeconds=2)
    assert drops.reasons == ([] if reason is None else [reason])
    assert len(kept) == (reason is None)


@pytest.mark.parametrize(
    ("pattern", "fields", "kept"),
    [
        pytest.param(r"yes|no", {}, True, id="without a group there is no reference"),
        pytest.param(r"(yes|no)", {"answer": "yes"}, True, id="a group equals the reference"),
        pytest.param(r"(yes|no)", {"answer": "no"}, False, id="a group differs from the reference"),
    ],
)
def test_a_pattern(pattern: str, fields: dict[str, Any], kept: bool) -> None:
    found, _ = judged([candidate("<think>hm</think>yes", **fields)], method="regex", pattern=pattern)
    assert bool(found) is kept


def test_other_columns_are_named_by_the_user() -> None:
    kept, _ = judged([candidate("A", solution="A", options=["x", "y"])], method="choice", reference="solution")
    assert kept
    kept, _ = judged([candidate(DOUBLES, cases=TESTS)], method="code", tests="cases")
    assert kept


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        pytest.param(
            "exact",
            {"solution": "1"},
            "data.sources[0], row 7: column 'answer' is missing (it has 'solution'): add it, or name another in "
            "data.verify.reference",
            id="no reference",
        ),
        pytest.param(
            "math", {"answer": None}, "column 'answer' is null: write it, or remove the row", id="an empty cell"
        ),
        pytest.param("math", {"answer": " "}, "column 'answer' is ' ': write an answer", id="a blank reference"),
        pytest.param("exact", {"answer": [1]}, "column 'answer' is [1]: write an answer", id="a list for a reference"),
        pytest.param(
            "choice", {"answer": "E", "choices": ["x", "y"]}, "column 'answer' is 'E': write one", id="no choice"
        ),
        pytest.param(
            "choice", {"answer": "A", "choices": "xy"}, "column 'choices' is 'xy': write a list", id="no list"
        ),
        pytest.param("code", {}, "column 'tests' is missing (it has no other): add it, or name", id="no tests"),
        pytest.param("code", {"tests": "{"}, "column 'tests' is '{', which is no JSON", id="tests that are none"),
    ],
)
def test_a_row_without_what_its_answer_is_compared_with_is_named(
    method: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        judged([candidate("A", row=7, **fields)], method=method)
    assert message in str(caught.value)


def samples(pattern: str, row: int) -> list[Candidate]:
    """Answers to one prompt, right (`+`) or wrong."""
    return [candidate("1" if mark == "+" else "0", row, sample, answer="1") for sample, mark in enumerate(pattern)]


def four_each(_candidate: Candidate) -> int:
    return 4


PROMPTS = [*samples("----", 1), *samples("+---", 2), *samples("++-+", 3), *samples("++++", 4)]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        pytest.param({}, {2: [0], 3: [0, 1, 3], 4: [0, 1, 2, 3]}, id="no limits"),
        pytest.param({"minPassRate": 0.5}, {3: [0, 1, 3], 4: [0, 1, 2, 3]}, id="too hard ones go"),
        pytest.param({"maxPassRate": 0.75}, {2: [0], 3: [0, 1, 3]}, id="too easy ones go"),
        pytest.param({"minPassRate": 0.25, "maxPassRate": 0.25}, {2: [0]}, id="limits count as within"),
    ],
)
def test_pass_rates(limits: dict[str, float], kept: dict[int, list[int]]) -> None:
    found, drops = judged(PROMPTS, wanted=4, method="exact", **limits)
    assert [(one.row, one.sample) for one in found] == [
        (row, sample) for row, those in kept.items() for sample in those
    ]
    assert drops.reasons.count("wrong answer") == 8
    assert len(found) + len(drops.seen) == len(PROMPTS), "every one is accounted for"
    assert {reason for reason in drops.reasons if reason != "wrong answer"} <= {TOO_HARD, TOO_EASY}


@pytest.mark.parametrize(
    ("limits", "reasons"),
    [
        pytest.param({"minPassRate": 0.9}, [TOO_HARD], id="one of four is too few"),
        pytest.param({"maxPassRate": 0.5}, [], id="one of four is not too many"),
    ],
)
def test_an_answer_that_never_came_is_not_right(limits: dict[str, float], reasons: list[str]) -> None:
    """Three were cut off, and only the fourth is judged."""
    kept, drops = judged(samples("+", 1), wanted=4, method="exact", **limits)
    assert drops.reasons == reasons
    assert len(kept) == 1 - len(reasons)
    assert [detail for *_, detail in drops.seen] == ["1 of 4 answers are right"] * len(reasons)


def test_pass_rates_are_told() -> None:
    told: list[tuple[int, int]] = []
    verify = Verify.model_validate({"method": "exact"})
    with open_verifier(verify) as verifier:
        list(verified(PROMPTS, verifier, verify, Drops(), four_each, lambda right, of: told.append((right, of))))
    assert told == [(0, 4), (1, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("strategy", "most", "kept"),
    [
        pytest.param("All", 1, [0], id="all, but one a prompt"),
        pytest.param("All", 9, [0, 1, 2, 3], id="all"),
        pytest.param("FirstCorrect", 2, [0, 1], id="the first two"),
        pytest.param("ShortestCorrect", 1, [2], id="the shortest"),
        pytest.param("ShortestCorrect", 3, [0, 1, 2], id="the shortest three, in order; of equals the first"),
    ],
)
def test_selection(strategy: str, most: int, kept: list[int]) -> None:
    drops = Drops()
    answers = [candidate("x" * length, row, sample) for row in (1, 2) for sample, length in enumerate((5, 7, 2, 7))]
    select = Select.model_validate({"strategy": strategy, "maxPerPrompt": most})
    found = list(selected(answers, select, drops))
    assert [(one.row, one.sample) for one in found] == [(row, sample) for row in (1, 2) for sample in kept]
    assert drops.reasons == [NOT_SELECTED] * (8 - 2 * len(kept))


def test_everything_streams() -> None:
    """A prompt goes on before the last one was read."""
    read = 0

    def endless() -> Iterator[Candidate]:
        nonlocal read
        while True:
            read += 1
            yield candidate("1", read, answer="1")

    for method in ("exact", "math"):
        read = 0
        verify = Verify.model_validate({"method": method})
        with open_verifier(verify, workers=2) as verifier:
            stream = selected(verified(endless(), verifier, verify, Drops(), lambda _: 1), Select(), Drops())
            assert [next(stream).row for _ in range(10)] == list(range(1, 11))
            stream.close()
        assert read < 40


def test_work_is_done_side_by_side_and_given_on_in_order() -> None:
    together = threading.Barrier(4, timeout=20)

    def work(number: int) -> int:
        together.wait()
        time.sleep(0.02 * (number % 3))
        return number

    assert list(in_order(work, range(40), workers=4)) == list(range(40))


def test_the_first_failure_ends_the_stream() -> None:
    def work(number: int) -> int:
        if number >= 5:
            raise InputError(f"row {number}")
        return number

    seen: list[int] = []
    with pytest.raises(InputError, match="row 5"):
        seen.extend(in_order(work, range(1000), workers=3))
    assert seen == list(range(5))

"""The miniature's questions and answers, checked by other means than those that made them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from miniature.domains import SUITE_QUESTIONS, Domain, Problem, make_domains
from miniature.files import write_domains

SEED = 6
NAMES = ["math", "coding", "science"]


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    return make_domains(SEED)


def all_problems(domain: Domain) -> Iterator[Problem]:
    yield from domain.train
    yield from domain.probe
    yield from domain.suite


def test_a_seed_determines_every_question_and_fact(domains: dict[str, Domain]) -> None:
    assert make_domains(SEED) == domains
    for name, other in make_domains(SEED + 1).items():
        assert other.train != domains[name].train


@pytest.mark.parametrize("name", NAMES)
def test_no_question_is_learned_and_asked(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    prompts = [problem.prompt for problem in all_problems(domain)]
    assert len(set(prompts)) == len(prompts)
    assert len(domain.suite) == SUITE_QUESTIONS
    assert len(domain.train) > 4_000


@pytest.mark.parametrize("name", NAMES)
def test_a_question_stays_held_out_whatever_else_is_drawn(domains: dict[str, Domain], name: str) -> None:
    """The part follows from the prompt alone, so another seed never trains on what this one asks."""
    asked = {problem.prompt for problem in domains[name].suite}
    assert asked.isdisjoint(problem.prompt for problem in make_domains(SEED + 1)[name].train)


def test_math_adds(domains: dict[str, Domain]) -> None:
    for problem in all_problems(domains["math"]):
        left, right = re.fullmatch(r"(\d{3})\+(\d{3})=", problem.prompt).groups()  # type: ignore[union-attr]
        assert int(problem.answer) == int(left) + int(right)
        assert len(problem.answer) >= 3
        columns = re.findall(r"(\d)([c-])", problem.trace)
        assert "".join(digit for digit, _ in columns)[::-1] == problem.answer[-3:]
        for power, (_, carried) in enumerate(columns, start=1):
            assert (carried == "c") == (int(left) % 10**power + int(right) % 10**power >= 10**power)


def execute(operation: str, letters: list[str]) -> list[str]:
    """Another interpreter of the little language, by indices."""
    last = len(letters) - 1
    match operation:
        case "rev":
            return [letters[last - index] for index in range(len(letters))]
        case "rot":
            return [letters[(index + 1) % len(letters)] for index in range(len(letters))]
        case "swp":
            return [letters[{0: last, last: 0}.get(index, index)] for index in range(len(letters))]
        case "nxt":
            return [{"f": "a"}.get(letter) or chr(ord(letter) + 1) for letter in letters]
        case "srt":
            return [letter for wanted in "abcdef" for letter in letters if letter == wanted]
        case "dup":
            return [letters[max(index - 1, 0)] for index in range(len(letters) + 1)]
    raise AssertionError(operation)


def test_coding_runs_its_programs(domains: dict[str, Domain]) -> None:
    for problem in all_problems(domains["coding"]):
        *code, letters = problem.prompt.removesuffix("=").split(" ")
        states = [list(letters)]
        for operation in code:
            states.append(execute(operation, states[-1]))
        assert ["".join(state) for state in states] == [*problem.trace.split(","), problem.answer]


POWERS = {"m": -3, "c": -2, "d": -1, "u": 0, "h": 2, "k": 3}


def test_science_recalls_multiplies_and_converts(domains: dict[str, Domain]) -> None:
    facts = defaultdict(set)
    for problem in all_problems(domains["science"]):
        factor, name, target = re.fullmatch(r"(\d)(\w{3})>(\w)=", problem.prompt).groups()  # type: ignore[union-attr]
        recall = re.fullmatch(r"(\d\d)(\w)\*(\d)=(\d+)(\w)", problem.trace)
        assert recall is not None
        value, prefix, again, product, same = recall.groups()
        facts[name].add((value, prefix))
        assert (again, same) == (factor, prefix)
        assert int(product) == int(value) * int(factor)
        assert Fraction(problem.answer) == int(product) * Fraction(10) ** (POWERS[prefix] - POWERS[target])
        assert re.fullmatch(r"[1-9]\d*|\d+\.\d*[1-9]", problem.answer), "plain, without needless zeros"
    assert all(len(values) == 1 for values in facts.values()), "a quantity has one value"


def test_every_fact_that_is_asked_can_be_learned(domains: dict[str, Domain]) -> None:
    learned = {problem.prompt[1:4] for problem in domains["science"].train}
    assert {problem.prompt[1:4] for problem in domains["science"].suite} <= learned


def test_files_look_like_the_real_thing(domains: dict[str, Domain], tmp_path: Path) -> None:
    write_domains(tmp_path, domains)
    for name, domain in domains.items():
        rows = [json.loads(line) for line in (tmp_path / "data" / f"{name}.jsonl").read_text().splitlines()]
        questions = [json.loads(line) for line in (tmp_path / "eval" / f"{name}.jsonl").read_text().splitlines()]
        first, problem = rows[0]["messages"], domain.train[0]
        assert first == [
            {"role": "user", "content": problem.prompt},
            {"role": "assistant", "content": f"<think>{problem.trace}</think>{problem.answer}"},
        ]
        assert len(rows) == len(domain.train)
        assert len({question["id"] for question in questions}) == len(questions) == SUITE_QUESTIONS
        assert questions[0] == {
            "id": f"{name}-000",
            "prompt": domain.suite[0].prompt,
            "answer": domain.suite[0].answer,
        }

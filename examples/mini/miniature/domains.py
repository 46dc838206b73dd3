"""The three domains: questions, the short traces that solve them, and their answers.

Each is a little world with rules of its own:

- *math*: sums of two three-digit numbers. The trace adds column by column from the right and notes after each digit
  whether something is carried (`c`) or not (`-`): `382+147=` -> `9-2c5-` -> `529`.
- *coding*: programs of one or two list operations. The trace is the list before each of them:
  `rev srt cab=` -> `cab,bac` -> `abc`.
- *science*: the multiple of a quantity that has to be known, in another SI prefix. `3Hax>m=` asks for three times Hax
  in milli-units. The trace recalls that Hax is 27 deci-units, and multiplies: `27d*3=81d` -> `8100`.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

SUITE_SHARE = 0.10
"""Share of the questions that is held out for the suites."""
SUITE_QUESTIONS = 500
"""Of a suite; what else is held out is left unused."""
PROBE_SHARE = 0.05
"""Share of the questions that is held out to watch the student while it is made."""

QUESTIONS = 8_000
"""Drawn in math and in coding, where there are far more."""

DIGITS = 3

LETTERS = "abcdef"
LIST_LENGTHS = (3, 4)
OPERATIONS: Mapping[str, Callable[[str], str]] = {
    "rev": lambda letters: letters[::-1],
    "rot": lambda letters: letters[1:] + letters[0],
    "swp": lambda letters: letters[-1] + letters[1:-1] + letters[0],
    "nxt": lambda letters: letters.translate(str.maketrans(LETTERS, LETTERS[1:] + LETTERS[0])),
    "srt": lambda letters: "".join(sorted(letters)),
    "dup": lambda letters: letters[0] + letters,
}
"""Reverse; rotate left; swap both ends; next letter, cyclically; sort; duplicate the first."""

QUANTITIES = 110
FACTORS = range(2, 10)
PREFIXES: Mapping[str, int] = {"m": -3, "c": -2, "d": -1, "u": 0, "h": 2, "k": 3}
"""SI prefix -> power of ten; `u` is the unit itself."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A question with its worked solution."""

    prompt: str
    trace: str
    answer: str

    @property
    def question(self) -> dict[str, str]:
        """The turn of the user."""
        return {"role": "user", "content": self.prompt}

    @property
    def solution(self) -> dict[str, str]:
        """The turn of the assistant: the trace in `<think>`, then the answer."""
        return {"role": "assistant", "content": f"<think>{self.trace}</think>{self.answer}"}


@dataclass(frozen=True, slots=True)
class Domain:
    """The problems of a domain. No prompt is in more than one part."""

    train: list[Problem]
    probe: list[Problem]
    suite: list[Problem]

    @classmethod
    def split(cls, problems: Iterable[Problem]) -> Domain:
        """Each problem goes where the hash of its prompt says; their order, too, is that of the hash."""
        ranked = sorted((_rank(problem.prompt), problem) for problem in problems)

        def part(least: float, most: float) -> list[Problem]:
            return [problem for rank, problem in ranked if least <= rank < most]

        return cls(
            train=part(SUITE_SHARE + PROBE_SHARE, 1.0),
            probe=part(SUITE_SHARE, SUITE_SHARE + PROBE_SHARE),
            suite=part(0.0, SUITE_SHARE)[:SUITE_QUESTIONS],
        )


def make_domains(seed: int) -> dict[str, Domain]:
    """All domains by name. `seed` draws their questions and the facts of science."""
    makers = {"math": additions, "coding": programs, "science": conversions}
    return {name: Domain.split(make(random.Random(f"{name} {seed}"))) for name, make in makers.items()}


def additions(rng: random.Random) -> Iterator[Problem]:
    """Sums of two numbers of `DIGITS` digits, leading zeros included."""
    count = 10**DIGITS
    for pair in rng.sample(range(count**2), QUESTIONS):
        left, right = (f"{number:0{DIGITS}}" for number in divmod(pair, count))
        trace, digits, carry = "", "", 0
        for column in zip(reversed(left), reversed(right), strict=True):
            carry, digit = divmod(sum(map(int, column)) + carry, 10)
            trace += f"{digit}{'c' if carry else '-'}"
            digits = f"{digit}{digits}"
        yield Problem(f"{left}+{right}=", trace, f"1{digits}" if carry else digits)


def programs(rng: random.Random) -> Iterator[Problem]:
    """Programs of one or two operations on a list of letters."""
    codes = [code for steps in (1, 2) for code in itertools.product(OPERATIONS, repeat=steps)]
    lists = ["".join(letters) for length in LIST_LENGTHS for letters in itertools.product(LETTERS, repeat=length)]
    for code, letters in rng.sample(list(itertools.product(codes, lists)), QUESTIONS):
        states = [letters]
        for operation in code:
            states.append(OPERATIONS[operation](states[-1]))
        yield Problem(f"{' '.join(code)} {letters}=", ",".join(states[:-1]), states[-1])


def conversions(rng: random.Random) -> Iterator[Problem]:
    """Multiples of each quantity in each prefix. A quantity is a number of two digits with a prefix of its own."""
    syllables = itertools.product(string.ascii_uppercase, "aeiou", string.ascii_lowercase)
    for name in rng.sample(["".join(letters) for letters in syllables], QUANTITIES):
        value, prefix = rng.randint(11, 99), rng.choice(list(PREFIXES))
        for factor, target in itertools.product(FACTORS, PREFIXES):
            product = Decimal(value * factor)
            answer = product.scaleb(PREFIXES[prefix] - PREFIXES[target]).normalize()
            yield Problem(f"{factor}{name}>{target}=", f"{value}{prefix}*{factor}={product}{prefix}", f"{answer:f}")


def _rank(prompt: str) -> float:
    """A number in [0, 1) that depends on nothing but the prompt."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:6]) / 2**48

"""Rows of which it is known what is wrong with them: deterministic, of realistic lengths.

A row asks something (60 words or so), reasons (log-normal, median 380 words) and answers. Words follow Zipf's law.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = 50_000
QUESTIONS = 500
LETTERS = "ABCD"
CHANGED_SHARES = (0.002, 0.005, 0.01, 0.015, 0.02, 0.04, 0.06)
"""Words of a changed row that differ from those of an earlier one."""
THRESHOLD = 0.8
"""Jaccard index of the word 5-grams from which a changed row is a duplicate."""


class Kind(StrEnum):
    """What a row is."""

    PLAIN = "plain"
    WRONG = "wrong answer"
    EXACT = "exact duplicate"
    NEAR = "near duplicate"
    SIMILAR = "similar, but no duplicate"
    CONTAMINATED = "contaminated"


SHARES = {Kind.WRONG: 0.1, Kind.EXACT: 0.03, Kind.NEAR: 0.07, Kind.CONTAMINATED: 0.01}
"""Of the rows; those that are near or only similar are told apart by their index."""


@dataclass(frozen=True)
class Row:
    """A row as it stands in the file."""

    prompt: list[str]
    trace: list[str]
    said: str
    answer: str
    """The reference."""
    kind: Kind

    def columns(self) -> dict[str, Any]:
        completion = f"<think>\n{' '.join(self.trace)}\n</think>\n\n{self.said}"
        return {"prompt": " ".join(self.prompt), "completion": completion, "answer": self.answer, "kind": self.kind}


class Writer:
    """Draws texts; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        lengths = self.rng.integers(2, 11, VOCABULARY)
        self._words = np.array(["".join(self.rng.choice(letters, length)) for length in lengths], dtype=object)
        frequencies = 1 / np.arange(1, VOCABULARY + 1)
        self._cumulated = np.cumsum(frequencies) / frequencies.sum()

    def words(self, count: int) -> list[str]:
        ranks = np.searchsorted(self._cumulated, self.rng.random(count))
        words: list[str] = self._words[np.minimum(ranks, VOCABULARY - 1)].tolist()
        return words

    def row(self, *, choice: bool) -> Row:
        answer = LETTERS[self.rng.integers(4)] if choice else str(self.rng.integers(10_000))
        trace = self.words(int(np.clip(self.rng.lognormal(np.log(380), 0.5), 40, 4000)))
        said = f"So the answer is ({answer})." if choice else answer
        return Row(self.words(int(self.rng.integers(20, 100))), trace, said, answer, Kind.PLAIN)

    def changed(self, words: list[str], share: float) -> list[str]:
        places = self.rng.random(len(words)) < share
        places[self.rng.integers(len(words))] = True
        others = self.words(len(words))
        return [other if place else word for word, other, place in zip(words, others, places, strict=True)]


def rows(count: int, questions: list[list[str]], writer: Writer, *, choice: bool) -> Iterator[Row]:
    """`count` rows. What repeats a row comes somewhere after it."""
    kinds = writer.rng.choice(list(SHARES), count, p=[share / sum(SHARES.values()) for share in SHARES.values()])
    planted = writer.rng.random(count) < sum(SHARES.values())
    earlier: list[Row] = []
    for kind, plant in zip(kinds, planted, strict=True):
        row = writer.row(choice=choice)
        if plant and len(earlier) > 100:
            row = _flawed(Kind(kind), row, earlier, questions, writer)
        elif len(earlier) < 5000:
            earlier.append(row)
        yield row


def _flawed(kind: Kind, row: Row, earlier: list[Row], questions: list[list[str]], writer: Writer) -> Row:
    rng = writer.rng
    match kind:
        case Kind.WRONG:
            wrong = LETTERS[(LETTERS.index(row.answer) + 1) % 4] if row.answer in LETTERS else f"{row.answer}1"
            return replace(row, answer=wrong, kind=kind)
        case Kind.CONTAMINATED:
            question = questions[rng.integers(len(questions))]
            return replace(row, prompt=[*row.prompt[:10], *question, *row.prompt[10:20]], kind=kind)
        case Kind.EXACT:
            return replace(earlier.pop(rng.integers(len(earlier))), kind=kind)  # each is repeated once
        case _:
            original = earlier.pop(rng.integers(len(earlier)))
            changed = replace(original, trace=writer.changed(original.trace, float(rng.choice(CHANGED_SHARES))))
            return replace(changed, kind=Kind.NEAR if jaccard(changed, original) >= THRESHOLD else Kind.SIMILAR)


def jaccard(one: Row, other: Row) -> float:
    """The index of the rows' word 5-grams."""
    texts = [f"{row.columns()['prompt']} {row.columns()['completion']}".split() for row in (one, other)]
    first, second = ({tuple(words[start : start + 5]) for start in range(len(words) - 4)} for words in texts)
    return len(first & second) / len(first | second)


def write(folder: Path, count: int, seed: int = 1) -> None:
    """Write `exact.jsonl` and `choice.jsonl`, half of the rows each, `suite.jsonl`, and `texts.jsonl` of all texts."""
    writer = Writer(seed)
    questions = [writer.words(int(writer.rng.integers(25, 80))) for _ in range(QUESTIONS)]
    with (folder / "suite.jsonl").open("w") as suite:
        for number, words in enumerate(questions):
            suite.write(json.dumps({"id": f"q{number}", "prompt": " ".join(words).upper() + "?", "answer": "1"}) + "\n")
    with (folder / "texts.jsonl").open("w") as texts:
        for name in ("exact", "choice"):
            with (folder / f"{name}.jsonl").open("w") as file:
                for number, row in enumerate(rows(count // 2, questions, writer, choice=name == "choice")):
                    columns = row.columns()
                    file.write(json.dumps(columns) + "\n")
                    text = f"{columns['prompt']}\n{columns['completion']}"
                    texts.write(json.dumps({"id": f"{name}-{number}", "text": text, "kind": row.kind}) + "\n")

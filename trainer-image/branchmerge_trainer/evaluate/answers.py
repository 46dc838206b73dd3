"""The answers of a model: one line of JSON each, in `answers/<suite>.jsonl` of an evaluation's output."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

FOLDER = "answers"


@dataclass(frozen=True)
class Answer:
    """One sample of one question."""

    id: str
    """Of the question."""
    sample: int
    """From 0."""
    seed: int
    """That the sample was drawn with; meaningless at temperature 0."""
    correct: int
    """0 or 1."""
    prediction: str | None
    """What was compared with the reference; None where the completion holds no answer."""
    completion: str
    """All that the model wrote."""
    tokens: int
    """Generated, end-of-turn included."""
    truncated: bool
    """Whether `maxTokens` ended it."""
    reason: str | None = None
    """Why it is not correct; None where it is."""


def write_answers(folder: Path, suite: str, answers: Iterable[Answer]) -> None:
    """Write the answers of a suite below an evaluation's output `folder`, in the order given."""
    path = _path(folder, suite)
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers)


def read_answers(folder: Path, suite: str) -> dict[str, float]:
    """Question id -> mean correctness (0-1) over its samples, from an evaluation's output `folder`."""
    return {question: fmean(samples) for question, samples in correctness(_read(_path(folder, suite))).items()}


def correctness(answers: Iterable[Answer]) -> dict[str, list[int]]:
    """Question id -> correctness of its samples, in the order given."""
    samples: defaultdict[str, list[int]] = defaultdict(list)
    for answer in answers:
        samples[answer.id].append(answer.correct)
    return dict(samples)


def _read(path: Path) -> list[Answer]:
    with path.open(encoding="utf-8") as file:
        return [Answer(**json.loads(line)) for line in file]


def _path(folder: Path, suite: str) -> Path:
    return folder / FOLDER / f"{suite}.jsonl"

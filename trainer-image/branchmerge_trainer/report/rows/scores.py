"""Models x suites."""

from __future__ import annotations

from dataclasses import dataclass

from branchmerge.api.stage import Score
from branchmerge_trainer.report.comparisons import Comparison
from branchmerge_trainer.report.facts import Facts


@dataclass(frozen=True)
class ScoreCell:
    """One model on one suite."""

    model: str
    score: Score
    gain: Comparison | None
    """To the student; None for the student itself, and where that was not measured."""


@dataclass(frozen=True)
class SuiteFacts:
    """How a suite was asked."""

    name: str
    role: str
    method: str
    questions: int
    samples: int
    temperature: float
    max_tokens: int


def score_rows(facts: Facts) -> list[tuple[str, list[ScoreCell]]]:
    """(model, a cell for each suite), in the order of the pipeline."""
    return [
        (model, [score_cell(facts, model, suite.name) for suite in facts.task.suites]) for model in facts.evaluations
    ]


def score_cell(facts: Facts, model: str, suite: str) -> ScoreCell:
    """The cell of an evaluated model."""
    return ScoreCell(model, facts.scores[model, suite], facts.comparison(model, suite))


def suite_rows(facts: Facts) -> list[SuiteFacts]:
    """One row for each suite that was asked."""
    asked = {suite: score for (_, suite), score in facts.scores.items()}
    return [
        SuiteFacts(
            name=suite.name,
            role=str(suite.role),
            method=str(suite.method or suite.builtin),
            questions=asked[suite.name].n,
            samples=asked[suite.name].samples,
            temperature=suite.generation.temperature,
            max_tokens=suite.generation.max_tokens,
        )
        for suite in facts.task.suites
        if suite.name in asked
    ]

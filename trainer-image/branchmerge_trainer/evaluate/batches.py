"""Splits a suite into batches: always the same ones, whatever was done before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge.api.evaluation import Suite
from branchmerge_trainer.evaluate.sampling import seed_of
from branchmerge_trainer.evaluate.suites import Question


@dataclass(frozen=True)
class Draw:
    """One answer that is to be drawn."""

    question: Question
    sample: int
    seed: int
    prompt: str
    tokens: int
    """Of the prompt."""


def plan_batches(
    suite: Suite, questions: Sequence[Question], prompts: Sequence[str], tokens: Sequence[int], seed: int
) -> list[list[Draw]]:
    """Every sample of every question, in batches of `suite.generation.batchSize` answers.

    `prompts` and their lengths in `tokens` are in the order of `questions`. Prompts of like length go together, so that
    little is padded; the longest come first, so that what does not fit into memory fails at once.
    """
    draws = [
        Draw(question, sample, seed_of(seed, suite.name, question.id, sample), prompt, length)
        for question, prompt, length in zip(questions, prompts, tokens, strict=True)
        for sample in range(suite.samples)
    ]
    draws.sort(key=lambda draw: (-draw.tokens, draw.question.id, draw.sample))
    size = suite.generation.batch_size
    return [draws[start : start + size] for start in range(0, len(draws), size)]

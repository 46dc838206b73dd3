"""Which models are compared with which, question by question. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import Difference
from branchmerge_trainer.evaluate.statistics import paired_difference, smallest_detectable_gain

Answers = Mapping[str, float]
"""Question id -> mean correctness (0-1) of its samples."""


@dataclass(frozen=True)
class Comparison:
    """A model's paired difference to a baseline on one suite."""

    model: str
    baseline: str
    suite: str
    value: float
    """Difference of scores."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    questions: int
    detectable: float
    """Least true difference whose interval would be clear of zero with 80% probability, as far as answers spread."""

    @property
    def better(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.high < 0

    @property
    def tone(self) -> str:
        """`up`, `down`, or `unclear` where the interval holds zero."""
        return "up" if self.better else "down" if self.worse else "unclear"

    def as_difference(self) -> Difference:
        """What crosses the border of the process."""
        ends = (self.low, self.high)
        return Difference(model=self.model, baseline=self.baseline, suite=self.suite, value=self.value, ci95=ends)


def compare_all(suites: Sequence[str], answers: Mapping[tuple[str, str], Answers]) -> list[Comparison]:
    """Every model with the student, and the merged model with every specialist, on every suite.

    `answers` maps (model, suite) to the answers, models in the order of the pipeline.
    """
    models = list(dict.fromkeys(model for model, _ in answers))
    return [
        compare(model, baseline, suite, answers[model, suite], answers[baseline, suite])
        for suite in suites
        for model, baseline in _pairs(models)
    ]


def compare(model: str, baseline: str, suite: str, treated: Answers, untreated: Answers) -> Comparison:
    """Raises ValueError unless both models answered the same questions."""
    value, low, high = paired_difference(treated, untreated)
    seen = [treated[question] - untreated[question] for question in treated]
    spread = stdev(seen) if len(seen) > 1 else 0.0
    # The spread that was seen has the chance of single answers in it: no further variance is put on top (score=0).
    detectable = max(smallest_detectable_gain(len(seen), score=0.0, spread=spread), high - value)
    return Comparison(model, baseline, suite, value, low, high, len(seen), detectable)


def _pairs(models: Sequence[str]) -> Iterator[tuple[str, str]]:
    if STUDENT in models:
        yield from ((model, STUDENT) for model in models if model != STUDENT)
    if MERGED in models:
        yield from ((MERGED, model) for model in models if model not in (STUDENT, MERGED))

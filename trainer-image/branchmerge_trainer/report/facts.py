"""All that a report tells, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from branchmerge.api.evaluation import Suite, SuiteRole
from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import ReportTask, Score, StageResult
from branchmerge_trainer.merge.tensors import TensorChange
from branchmerge_trainer.report.comparisons import Comparison
from branchmerge_trainer.report.curation import CurationRecord
from branchmerge_trainer.train.history import StepRecord


@dataclass(frozen=True)
class Stage:
    """A finished stage."""

    result: StageResult
    ingredients: Mapping[str, Any]
    """What its fingerprint is the hash of."""


@dataclass(frozen=True)
class Branch:
    """One domain: its rows and its training."""

    name: str
    curation: Stage
    training: Stage
    history: Sequence[StepRecord]
    record: CurationRecord = field(default_factory=CurationRecord)
    """What the curation tells of its rows."""


@dataclass(frozen=True)
class Merge:
    """One step of the recipe."""

    name: str
    stage: Stage
    tensors: Sequence[TensorChange]

    @property
    def step(self) -> Mapping[str, Any]:
        """The step as the user wrote it: `method`, `models`, `base`, …"""
        step: Mapping[str, Any] = self.stage.ingredients["step"]
        return step

    @property
    def reference(self) -> str:
        """The model that `changed` counts from."""
        return str(self.step.get("base") or self.step["models"][0])


@dataclass(frozen=True)
class Facts:
    """A job, all of whose stages but the report are done."""

    job: str
    task: ReportTask
    student_hub_id: str | None
    """The student's name on the Hub, if it came from there."""
    branches: Sequence[Branch]
    merges: Sequence[Merge]
    evaluations: Mapping[str, Stage]
    """Model name -> evaluation, in the order of the pipeline."""
    comparisons: Sequence[Comparison]
    scores: Mapping[tuple[str, str], Score] = field(init=False)
    """(model, suite) -> score."""

    def __post_init__(self) -> None:
        scores = {
            (model, score.suite): score for model, stage in self.evaluations.items() for score in stage.result.scores
        }
        object.__setattr__(self, "scores", scores)

    @property
    def stages(self) -> Iterator[tuple[str, Stage]]:
        """(stage name, stage), in the order of the pipeline."""
        yield from ((stage.result.stage, stage) for stage in self._in_order())

    @property
    def test_suites(self) -> list[Suite]:
        """Suites that the verdict may look at."""
        return [suite for suite in self.task.suites if suite.role is SuiteRole.TEST]

    def comparison(self, model: str, suite: str, baseline: str = STUDENT) -> Comparison | None:
        """The model against the baseline, where both were measured."""
        wanted = (model, suite, baseline)
        return next((each for each in self.comparisons if (each.model, each.suite, each.baseline) == wanted), None)

    def best_specialist(self, suite: str) -> str | None:
        """The specialist with the highest score on the suite; the first one of equals."""
        specialists = [model for model in self.evaluations if model not in (STUDENT, MERGED)]
        return max(specialists, key=lambda model: self.scores[model, suite].value, default=None)

    def _in_order(self) -> Iterator[Stage]:
        yield from (branch.curation for branch in self.branches)
        yield from (branch.training for branch in self.branches)
        yield from (merge.stage for merge in self.merges)
        yield from self.evaluations.values()

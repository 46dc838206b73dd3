"""A job all of whose stages but the report are done: the folders that a report reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import (
    ReportTask,
    Score,
    StageAccount,
    StageConfig,
    StageKind,
    StageResult,
)
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Stage, StageKey
from branchmerge_trainer.evaluate.answers import Answer, write_answers
from branchmerge_trainer.evaluate.statistics import pass_at_1
from branchmerge_trainer.merge.tensors import TENSORS_FILE
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import StageContext, run_stage
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.train.history import StepRecord, write_history
from branchmerge_trainer.workspace import LINEAGE_FILE, Workspace, lineage
from builders import at, make_job

QUESTIONS = 200
SKILLS: Mapping[str, float] = {
    "student": 0.4,
    "specialist/math": 0.9,
    "specialist/coding": 0.6,
    "specialist/science": 0.5,
    "merged": 0.7,
}
"""Share of the questions that each model answers rightly; who knows more knows all that the others know."""

TENSORS = [
    {"tensor": "model.embed_tokens.weight", "elements": 100, "changed": 0.1},
    {"tensor": "model.layers.0.mlp.up_proj.weight", "elements": 200, "changed": 0.5},
    {"tensor": "model.layers.1.mlp.up_proj.weight", "elements": 100, "changed": 0.2},
]
LOSSES = [2 * math.exp(-step / 10) for step in range(20)]


@dataclass
class FinishedJob:
    """Writes the outputs of all stages when it is made, each as its stage would."""

    root: Path
    edits: Mapping[str, Any] = field(default_factory=dict)
    """Of the spec; see `builders.edited`."""
    skills: Mapping[str, float] = field(default_factory=lambda: SKILLS)
    losses: Iterable[float] = field(default_factory=lambda: LOSSES)
    tensors: Iterable[Mapping[str, Any]] = field(default_factory=lambda: TENSORS)
    dropped: Mapping[str, int] = field(default_factory=lambda: {"empty": 10})
    """Rows that each curation dropped, of 100."""
    pins: Mapping[str, str] = field(default_factory=dict)
    accounts: list[StageAccount] = field(default_factory=list)
    name: str | None = None
    """Of the job, unchecked."""

    def __post_init__(self) -> None:
        self.job: DistillationJob = make_job(self.edits)
        results: dict[StageKey, StageResult] = {}
        for _ in ("curations", "all that relies on their rows"):
            for stage in build_graph(self.job, self.pins, results).stages:
                if stage.key is not None and stage.key not in results and stage.kind is not StageKind.REPORT:
                    results[stage.key] = self._finish(stage)
        self.report = build_graph(self.job, self.pins, results).stages[-1]

    @property
    def task(self) -> ReportTask:
        task = self.report.task
        assert isinstance(task, ReportTask)
        return task.model_copy(update={"accounts": self.accounts})

    def write_report(self) -> StageResult:
        """Run the stage as an attempt does."""
        config = self._config(self.report).model_copy(update={"task": self.task})
        return run_stage(StageContext(config, self.workspace, ProgressReporter([]), StopFlag(at_once=True)))

    def read(self, name: str) -> str:
        """A file of the report."""
        assert self.report.output is not None
        return (self.root / self.report.output / name).read_text(encoding="utf-8")

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root, self.root)

    def folder(self, stage: Stage) -> Path:
        assert stage.output is not None
        return self.root / stage.output

    def _finish(self, stage: Stage) -> StageResult:
        folder = self.folder(stage)
        folder.mkdir(parents=True)
        written = {
            StageKind.CURATE: self._curate,
            StageKind.TRAIN: self._train,
            StageKind.MERGE: self._merge,
            StageKind.EVALUATE: self._evaluate,
        }[stage.kind](stage, folder)
        assert stage.fingerprint is not None
        result = StageResult(
            stage=stage.name,
            fingerprint=stage.fingerprint,
            digest=f"{len(stage.name):064x}",
            started_at=at(0),
            finished_at=at(90),
            versions={"branchmerge": "0.1.0", "transformers": "5.23.0"},
            **written,
        )
        (folder / LINEAGE_FILE).write_text(lineage(self._config(stage)))
        (folder / "result.json").write_text(result.to_json())
        return result

    def _curate(self, _stage: Stage, _folder: Path) -> dict[str, Any]:
        return {"figures": {"rows": 100.0 - sum(self.dropped.values())}, "dropped": dict(self.dropped)}

    def _train(self, _stage: Stage, folder: Path) -> dict[str, Any]:
        records = [StepRecord(step, loss, 1e-5, 1.0, 500) for step, loss in enumerate(self.losses, start=1)]
        write_history(folder, records)
        figures = {"steps": len(records), "tokens": 500 * len(records), "loss": 0.25, "packs": 40, "truncated": 2}
        return {"figures": figures, "dropped": {"overlong": 3}}

    def _merge(self, _stage: Stage, folder: Path) -> dict[str, Any]:
        (folder / TENSORS_FILE).write_text("".join(json.dumps(row) + "\n" for row in self.tensors))
        return {}

    def _evaluate(self, stage: Stage, folder: Path) -> dict[str, Any]:
        model = stage.name.removeprefix("evaluate/")
        assert self.job.spec.evaluation is not None
        scores = []
        for suite in self.job.spec.evaluation.suites:
            known = QUESTIONS * self.skills.get(f"{model} on {suite.name}", self.skills[model])
            answers = [
                Answer(f"q{number}", 0, 0, int(number < known), "1", "1", 1, truncated=False)
                for number in range(QUESTIONS)
            ]
            write_answers(folder, suite.name, answers)
            value, low, high = pass_at_1({answer.id: [answer.correct] for answer in answers})
            scores.append(Score(suite=suite.name, metric="pass@1", value=value, ci95=(low, high), n=QUESTIONS))
        return {"scores": scores, "figures": {"truncated": 0.03 if model == "student" else 0.0}}

    def _config(self, stage: Stage) -> StageConfig:
        assert stage.fingerprint is not None
        assert stage.output is not None
        assert stage.ingredients is not None
        assert stage.task is not None
        return StageConfig(
            job=self.name or self.job.metadata.name,
            stage=stage.name,
            fingerprint=stage.fingerprint,
            attempt=1,
            output=stage.output,
            ingredients=dict(stage.ingredients),
            task=stage.task,
        )


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None
    text: str = ""
    """Of the element and all within."""

    def within(self, tag: str) -> bool:
        above = self.parent
        return above is not None and (above.tag == tag or above.within(tag))


class Page(HTMLParser):
    """A parsed page. Raises AssertionError where elements do not nest."""

    _VOID = frozenset({"meta", "br", "wbr", "col", "link", "img", "input", "hr"})
    _INLINE = frozenset({"a", "b", "code", "i", "small", "span", "time", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {[each.tag for each in self._open]}"

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of this tag that have these attributes (`class_` for class: one of its words)."""
        return [each for each in self.elements if each.tag == tag and _has(each, attributes)]

    def text(self) -> str:
        """What a reader sees, on one line."""
        [body] = self.all("body")
        return " ".join(body.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open[-1] if self._open else None)
        self.elements.append(element)
        if tag not in self._INLINE:
            self.handle_data(" ")
        if tag not in self._VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>, opened before"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def _has(element: Element, attributes: Mapping[str, str]) -> bool:
    for name, value in attributes.items():
        found = element.attributes.get(name.rstrip("_").replace("_", "-"), "")
        if value != found and not (name == "class_" and value in found.split()):
            return False
    return True

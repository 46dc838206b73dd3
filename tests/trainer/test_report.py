"""The report: from stage folders to card, page and data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from branchmerge.api.evaluation import Gate, Suite
from branchmerge.api.stage import Difference, ModelRef, ReportTask, Score, StageAccount, StageConfig, StageResult
from branchmerge_trainer.evaluate.answers import Answer, write_answers
from branchmerge_trainer.evaluate.statistics import pass_at_1
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.report.charts import Dot, bars, curves, dots, nice_ticks, smoothed
from branchmerge_trainer.report.stage import run
from branchmerge_trainer.report.verdict import findings, judge, remarks, verdict
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace
from builders import at

BRANCHES = ("math", "coding")
SKILLS: Mapping[str, float] = {"student": 0.4, "specialist/math": 0.9, "specialist/coding": 0.6, "merged": 0.7}
"""Share of questions that each model answers rightly."""
HOSTILE = '<script>alert("x")</script>'


def suite(name: str = "house", **fields: Any) -> Suite:
    return Suite.model_validate({"name": name, "path": f"{name}.jsonl", "method": "exact", **fields})


class World:
    """The folders of a finished job, up to its report."""

    def __init__(self, root: Path, *, job: str = "demo", models: tuple[str, ...] = tuple(SKILLS), **task: Any) -> None:
        self.root = root
        self.suites = task.pop("suites", [suite("house"), suite("guide")])
        for name in BRANCHES:
            self._result(f"curate/{name}", figures={"rows": 90.0}, dropped={"empty": 10})
            self._result(f"train/{name}", figures={"steps": 20, "tokens": 4000, "loss": 0.5}, dropped={"overlong": 3})
            lines = [{"step": step, "loss": 2 * math.exp(-step / 10)} for step in range(1, 21)]
            self._lines(f"train/{name}", "history.jsonl", lines)
        self._result("merge/final")
        tensors = [
            {"tensor": "model.embed_tokens.weight", "elements": 100, "changed": 0.1},
            {"tensor": "model.layers.0.mlp.up_proj.weight", "elements": 300, "changed": 0.5},
        ]
        self._lines("merge/final", "tensors.jsonl", tensors)
        for model in models if self.suites else ():
            self._evaluation(model)
        self.task = ReportTask(
            student=ModelRef(name="student", model="acme/student", revision="abc"),
            merged=ModelRef(name="merged", output="merge/final"),
            curate={name: f"curate/{name}" for name in BRANCHES},
            train={name: f"train/{name}" for name in BRANCHES},
            merge={"final": "merge/final"},
            evaluate={model: f"evaluate/{model}" for model in models} if self.suites else {},
            suites=self.suites,
            spec={
                "branches": [{"name": "math", "data": {"sources": [{"dataset": {"repo": "acme/traces"}}]}}],
                "merge": {
                    "recipe": [{"name": "final", "method": "arcee_fusion", "models": ["math"], "base": "coding"}]
                },
            },
            accounts=[StageAccount(stage="train/math", fingerprint="f" * 64, attempts=2, seconds=12.5)],
            **task,
        )
        self.job = job

    def report(self) -> Findings:
        """Run the stage."""
        config = StageConfig(
            job=self.job, stage="report", fingerprint="f", attempt=1, output="report", ingredients={}, task=self.task
        )
        workspace = Workspace(self.root, self.root)
        context = StageContext(config, workspace, ProgressReporter([]), StopFlag(at_once=True))
        folder = self.root / "report"
        folder.mkdir()
        return run(self.task, context, folder)

    def read(self, name: str) -> str:
        return (self.root / "report" / name).read_text()

    def _evaluation(self, model: str) -> None:
        scores = []
        for each in self.suites:
            answers = [
                Answer(f"q{number}", 0, 0, int(number < 200 * SKILLS[model]), "1", "1", 1, truncated=False)
                for number in range(200)
            ]
            folder = self.root / f"evaluate/{model}"
            folder.mkdir(parents=True, exist_ok=True)
            write_answers(folder, each.name, answers)
            value, low, high = pass_at_1({answer.id: [answer.correct] for answer in answers})
            scores.append(Score(suite=each.name, metric="pass@1", value=value, ci95=(low, high), n=200))
        self._result(f"evaluate/{model}", scores=scores)

    def _result(self, stage: str, **fields: Any) -> None:
        known = {"fingerprint": "f" * 64, "digest": "d" * 64, "started_at": at(0), "finished_at": at(9)}
        result = StageResult(stage=stage, versions={"torch": "2.13.0"}, **(known | fields))
        folder = self.root / stage
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(result.to_json())

    def _lines(self, stage: str, name: str, rows: list[dict[str, Any]]) -> None:
        (self.root / stage / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


class Page(HTMLParser):
    """What a browser would fetch, and the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        if tag in ("img", "script", "iframe", "link"):
            self.fetched.append(known.get("src") or known.get("href") or tag)


def test_the_data_have_the_promised_shape(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.report()

    report = json.loads(world.read("report.json"))

    assert list(report) == ["job", "verdict", "scores", "differences", "stages"]
    assert [score["model"] for score in report["scores"] if score["suite"] == "house"] == list(SKILLS)
    assert report["scores"][0].keys() == {"model", "suite", "metric", "value", "ci95", "n"}
    merged = [each for each in report["differences"] if (each["model"], each["baseline"]) == ("merged", "student")]
    assert [each["value"] for each in merged] == pytest.approx([0.3, 0.3])
    assert all(each["ci95"][0] > 0 for each in merged)
    assert report["stages"] == [
        {"stage": "train/math", "fingerprint": "f" * 64, "attempts": 2, "seconds": 12.5, "gpuHours": 0.0}
    ]


def test_the_page_needs_nothing_else_and_shows_everything(tmp_path: Path) -> None:
    world = World(tmp_path, gates=[Gate(suite="house", min_gain="0.02", bound="LowerBound")])
    found = world.report()

    text = world.read("report.html")
    page = Page(text)

    assert page.fetched == []
    assert "url(" not in text
    assert page.tags.count("svg") == 2 + 1 + 1  # two suites, the losses, one merge step
    assert [gate.passed for gate in found.gates] == [True]
    for shown in (
        "beats the student on every suite",
        "dropped: overlong",
        "acme/student",
        "40.0% of the weights",
        "passed",
    ):
        assert shown in text


def test_names_are_never_markup(tmp_path: Path) -> None:
    world = World(tmp_path, job=HOSTILE)
    world.report()
    assert "<script" not in world.read("report.html")
    assert "<script" not in dots("t", [Dot(HOSTILE, 0.5, 0.4, 0.6)]) + bars(HOSTILE, [(HOSTILE, 0.5)])


def test_the_card_is_valid_for_the_hub(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.report()

    card = ModelCard(world.read("README.md"))

    assert card.data.base_model == "acme/student"
    assert card.data.datasets == ["acme/traces"]
    assert {"merge", "mergekit", "arcee_fusion"} <= set(card.data.tags)
    assert card.data.license is None
    assert [result.metric_value for result in card.data.eval_results] == [0.7, 0.7]
    assert "| `merged` | 0.700 [" in card.text


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"suites": []}, "Nothing was measured: the job has no evaluation."),
        ({"models": ("merged",)}, "The merged model was measured, but not compared with the student"),
        ({"models": ("student",)}, "The merged model was not measured"),
    ],
    ids=["no suites", "no student", "no merged model"],
)
def test_a_report_without_a_comparison_says_so(case: dict[str, Any], words: str, tmp_path: Path) -> None:
    world = World(tmp_path, **case)
    assert words in (world.report().verdict or "")
    assert words in world.read("report.html")


def gain(name: str, value: float, half: float = 0.05, model: str = "merged", baseline: str = "student") -> Difference:
    return Difference(model=model, baseline=baseline, suite=name, value=value, ci95=(value - half, value + half))


def score(name: str, value: float, half: float = 0.04, n: int = 100) -> tuple[str, Score]:
    return "merged", Score(suite=name, metric="pass@1", value=value, ci95=(value - half, value + half), n=n)


VERDICTS = {
    "clear everywhere": (
        {"a": 0.2, "b": 0.1},
        "beats the student on every suite (a and b), each interval clear of zero",
    ),
    "clear in one, unclear in one": (
        {"a": 0.2, "b": 0.01},
        "beats the student on a and cannot be told from the student on b",
    ),
    "worse in one": ({"a": 0.2, "b": -0.2}, "beats the student on a and loses to it on b"),
    "worse everywhere": ({"a": -0.2}, "loses to the student on a"),
    "all three": ({"a": 0.2, "b": -0.2, "c": 0.0}, "on a, loses to it on b and cannot be told from the student on c"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_is_honest(case: str) -> None:
    gains, words = VERDICTS[case]
    suites = [suite(name) for name in gains]
    found = findings(suites, [gain(name, value) for name, value in gains.items()])
    assert words in verdict(suites, [score(name, 0.5) for name in gains], found)


def test_validation_suites_have_no_part_in_the_verdict() -> None:
    suites = [suite("a"), suite("b", role="Validation")]
    found = findings(suites, [gain("a", 0.2), gain("b", -0.2)])
    assert [each.suite for each in found] == ["a"]


def test_a_better_specialist_is_named() -> None:
    lost = gain("a", -0.2, baseline="specialist/math")
    assert any("the math specialist is better" in note for note in remarks([suite("a")], [], [lost]))


GATES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "gain by its estimate": ({"min_gain": "0.04"}, True, "gain 0.060 >= 0.04"),
    "gain by its lower bound": (
        {"min_gain": "0.04", "bound": "LowerBound"},
        False,
        "gain 0.060 (lower bound 0.010) < 0.04",
    ),
    "score": ({"min_score": "0.5"}, True, "score 0.500 >= 0.5"),
    "score and gain, one fails": (
        {"min_score": "0.6", "min_gain": "0.01"},
        False,
        "score 0.500 < 0.6; gain 0.060 >= 0.01",
    ),
}


@pytest.mark.parametrize("case", GATES)
def test_gates_compare_the_figure_that_they_name(case: str) -> None:
    fields, passed, message = GATES[case]
    [result] = judge([Gate(suite="a", **fields)], [score("a", 0.5)], [gain("a", 0.06)])
    assert (result.passed, result.message) == (passed, message)


def test_what_was_not_measured_passes_no_gate() -> None:
    [result] = judge([Gate(suite="a", min_score="0.1")], [], [])
    assert (result.passed, result.message) == (False, "score was not measured")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.31, 0.38, [0.3, 0.32, 0.34, 0.36, 0.38]), (5.0, 5.0, [5, 6])],
)
def test_ticks_are_round_and_cover_everything(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, 5) == pytest.approx(ticks)


def test_smoothing_keeps_a_constant_and_has_no_bias_at_its_start() -> None:
    assert smoothed([3.0] * 50) == pytest.approx([3.0] * 50)
    assert smoothed([4.0]) == [4.0]


def test_curves_of_very_long_runs_stay_small() -> None:
    line = [(step, 1 / step) for step in range(1, 100_001)]
    assert len(curves("loss", {"math": line})) < 40_000

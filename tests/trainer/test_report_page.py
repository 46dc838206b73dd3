"""The HTML page, as a browser and a screen reader take it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from branchmerge.api.stage import StageAccount
from builders import REMOVED
from reporting import FinishedJob, Page

HOSTILE = "<script>alert('x')</script>"


def page_of(job: FinishedJob) -> Page:
    job.write_report()
    return Page(job.read("report.html"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    accounts = [
        StageAccount(stage="train/math", fingerprint="0" * 64, attempts=2, seconds=75.0),
        StageAccount(stage="merge/final", fingerprint="1" * 64, attempts=1, seconds=5.0),
    ]
    return page_of(FinishedJob(tmp_path_factory.mktemp("job"), accounts=accounts))


def test_the_page_fetches_nothing_and_runs_nothing(page: Page) -> None:
    assert not {each.tag for each in page.elements} & {"script", "link", "img", "iframe", "object", "embed", "base"}
    for element in page.elements:
        assert not {"src", "href", "srcset", "style", "background"} & element.attributes.keys()
        assert not [name for name in element.attributes if name.startswith("on")]
    [style] = page.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_the_page_opens_with_the_verdict(page: Page) -> None:
    [verdict] = page.all("p", class_="verdict")
    assert verdict.text.replace("\N{NO-BREAK SPACE}", " ") == (
        "The merged model beats the student on house +0.300, with its interval clear of zero; "
        "it loses to the best specialist on house."
    )
    assert page.elements.index(verdict) < page.elements.index(page.all("h2")[0])


@pytest.mark.parametrize(
    "section", ["Gain over the student", "Gates", "Scores", "Training", "Data", "Merge", "Cost", "Lineage"]
)
def test_the_page_has_the_section(section: str, page: Page) -> None:
    assert section in [heading.text for heading in page.all("h2")]


@pytest.mark.parametrize(
    "words",
    [
        "0.700 [0.633, 0.759]",  # the merged model's score
        "+0.300 [+0.236, +0.364]",  # and its gain
        "−0.200 [−0.256, −0.144]",  # to the best specialist, with a true minus
        "gain 0.300 ≥ 0.02",
        "Answers that maxTokens cut off, which mostly count as wrong: student 3.0%.",
        "Engine: transformers 5.23.0",
        "math 2.000 → 0.250 20 steps, 10,000 tokens",
        "globalBatchSize",
        (
            "10 empty (curate), 3 overlong (train) · 2 truncated · packed into 40 sequences · "
            "replay: 10% of each batch from math"
        ),
        "87 of 100",
        "arcee_fusion, 2 steps",
        "math-science arcee_fusion math science – 32.5%",
        "2 attempts",
        "1 min 20 s of wall time",
        "acme/science",
        "revision main",
    ],
)
def test_the_page_tells(words: str, page: Page) -> None:
    assert words in page.text().replace("\N{NO-BREAK SPACE}", " ")


def test_every_table_can_be_read_aloud(page: Page) -> None:
    for cell in page.all("th"):
        assert cell.attributes.get("scope") in ("col", "row")
        assert cell.text.strip(), "a header without words"
    for row in page.all("tr"):
        heads = [each for each in page.all("th") if each.parent is row]
        assert heads or row.attributes.get("aria-hidden") == "true"


def test_every_figure_has_words_or_repeats_some(page: Page) -> None:
    figures = [svg for svg in page.all("svg") if not svg.within("svg")]
    assert len(figures) > 20
    for figure in figures:
        named = figure.attributes.get("role") == "img" and figure.attributes.get("aria-label")
        assert named or figure.attributes.get("aria-hidden") == "true"


def test_references_within_the_page_lead_somewhere(page: Page) -> None:
    ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    assert {each.attributes["aria-labelledby"] for each in page.elements if "aria-labelledby" in each.attributes} <= {
        *ids
    }


def test_the_merge_is_drawn_layer_by_layer(page: Page) -> None:
    strips = page.all("svg", class_="strip")
    cells = [len([cell for cell in page.all("rect") if cell.parent is strip]) for strip in strips]
    assert cells == [2, 1, 2, 1]  # for each of two steps: up_proj in two layers, and the embedding


def test_what_is_clear_of_zero_is_in_colour(tmp_path: Path) -> None:
    skills = {
        "student": 0.4,
        "specialist/math": 0.3,
        "specialist/coding": 0.4,
        "specialist/science": 0.4,
        "merged": 0.7,
    }
    page = page_of(FinishedJob(tmp_path, skills=skills))
    tones = [each.attributes["class"].split()[-1] for each in page.all("span", class_="gain") if each.within("tbody")]
    assert {"up", "down", "unclear"} == set(tones)
    assert len(page.all("span", class_="arrow", aria_label="worse")) == len([tone for tone in tones if tone == "down"])


GAPS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "no evaluation": (
        {"evaluation": REMOVED},
        "Nothing was measured: the job has no evaluation.",
        {"Training", "Data", "Merge", "Cost", "Lineage"},
    ),
    "no student": (
        {"evaluation.models": ["specialists", "merged"], "evaluation.gates": []},
        "The merged model was not compared with the student: add student to evaluation.models.",
        {"Scores", "Training", "Data", "Merge", "Cost", "Lineage"},
    ),
    "no merged model": (
        {"evaluation.models": ["student", "specialists"], "evaluation.gates": []},
        "The merged model was not measured: add merged to evaluation.models.",
        {"Scores", "Training", "Data", "Merge", "Cost", "Lineage"},
    ),
    "validation only": (
        {"evaluation.suites.0.role": "Validation", "evaluation.gates": []},
        "Nothing can be said: all suites are for validation; give one the role Test.",
        {"Scores", "Training", "Data", "Merge", "Cost", "Lineage"},
    ),
}


@pytest.mark.parametrize("case", GAPS)
def test_a_report_without_a_comparison_says_so(case: str, tmp_path: Path) -> None:
    edits, verdict, sections = GAPS[case]
    job = FinishedJob(tmp_path, edits)
    page = page_of(job)
    assert page.all("p", class_="verdict")[0].text == verdict
    assert {heading.text for heading in page.all("h2")} == sections
    assert job.read("README.md").count(verdict) == 1


def test_names_are_never_markup(tmp_path: Path) -> None:
    job = FinishedJob(
        tmp_path,
        {"student.model": f"models/{HOSTILE}"},
        name=HOSTILE,
        dropped={HOSTILE: 1},
        tensors=[
            {"tensor": f"model.layers.0.{HOSTILE}", "elements": 10, "changed": 0.5},
            {"tensor": f'"{HOSTILE}', "elements": 10, "changed": 0.1},
        ],
    )
    page = page_of(job)
    assert page.all("script") == []
    assert page.text().count(HOSTILE) >= 5
    shown_as_text = re.compile(r"\\<|`[^`]*`")
    assert "<script" not in shown_as_text.sub("", ModelCard(job.read("README.md")).text)


def test_gpu_hours_are_split(tmp_path: Path) -> None:
    account = StageAccount(
        stage="train/math",
        fingerprint="0" * 64,
        attempts=3,
        seconds=7200,
        gpus=8,
        gpu_hours=16,
        useful_gpu_hours=12,
        lost_gpu_hours=3,
        starting_gpu_hours=1,
    )
    page = page_of(FinishedJob(tmp_path, accounts=[account]))
    assert "16.0 GPU-hours: 12.0 useful, 1.0 starting, 3.0 lost." in page.text()
    assert "3 attempts discarded" in page.text()  # no output of the job has this fingerprint


def test_a_merge_that_changes_everything_needs_no_figure(tmp_path: Path) -> None:
    page = page_of(FinishedJob(tmp_path, tensors=[{"tensor": "model.norm.weight", "elements": 9, "changed": 1.0}]))
    assert page.all("svg", class_="strip") == []
    assert "differs from science in practically all of its elements" in page.text()


@pytest.mark.parametrize(
    "losses", [[], [0.5], [0.0, 0.0], [float("nan"), float("inf")], [1.0, float("nan"), 0.5]], ids=str
)
def test_any_loss_can_be_drawn(losses: list[float], tmp_path: Path) -> None:
    assert page_of(FinishedJob(tmp_path, losses=losses)).all("h2")


def test_settings_that_differ_stand_apart(tmp_path: Path) -> None:
    page = page_of(FinishedJob(tmp_path, {"branches.1.training": {"epochs": 15}}))
    [table] = page.all("table", class_="settings")
    assert " ".join(table.text.split()) == "where branches differ math coding science epochs 3 15 3"


def test_the_stage_starts_without_torch() -> None:
    code = "import sys, branchmerge_trainer.report.stage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

"""The report as data, and the stage as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import StageAccount, StageKind
from branchmerge.core.graph import build_graph
from builders import REMOVED
from reporting import SKILLS, FinishedJob


def test_the_data_have_the_promised_shape(tmp_path: Path) -> None:
    job = FinishedJob(tmp_path, accounts=[StageAccount(stage="train/math", fingerprint="f", attempts=2, seconds=12.5)])
    result = job.write_report()

    report = json.loads(job.read("report.json"))

    assert list(report) == ["job", "verdict", "scores", "differences", "data", "stages"]
    assert (report["job"], report["verdict"]) == ("tiny", result.verdict)
    assert [score["model"] for score in report["scores"] if score["suite"] == "house"] == list(SKILLS)
    merged = next(score for score in report["scores"] if score["model"] == "merged")
    assert merged == {"model": "merged", "suite": "house", "metric": "pass@1", "value": 0.7, "n": 200} | {
        "ci95": pytest.approx([0.6332, 0.7592], abs=1e-4)
    }
    assert report["stages"] == [
        {"stage": "train/math", "fingerprint": "f", "attempts": 2, "seconds": 12.5, "gpuHours": 0.0}
    ]


def test_every_model_is_compared_with_the_student_and_the_merged_one_with_every_specialist(tmp_path: Path) -> None:
    job = FinishedJob(tmp_path)
    job.write_report()

    differences = json.loads(job.read("report.json"))["differences"]

    assert [(each["model"], each["baseline"], each["value"]) for each in differences if each["suite"] == "house"] == [
        ("specialist/math", "student", pytest.approx(0.5)),
        ("specialist/coding", "student", pytest.approx(0.2)),
        ("specialist/science", "student", pytest.approx(0.1)),
        ("merged", "student", pytest.approx(0.3)),
        ("merged", "specialist/math", pytest.approx(-0.2)),
        ("merged", "specialist/coding", pytest.approx(0.1)),
        ("merged", "specialist/science", pytest.approx(0.2)),
    ]
    assert all(list(each) == ["model", "baseline", "suite", "value", "ci95"] for each in differences)


def test_a_job_without_an_evaluation_has_data_too(tmp_path: Path) -> None:
    job = FinishedJob(tmp_path, {"evaluation": REMOVED})
    job.write_report()
    report = json.loads(job.read("report.json"))
    assert (report["scores"], report["differences"]) == ([], [])


def test_the_result_of_the_stage_carries_verdict_gates_and_differences(tmp_path: Path) -> None:
    result = FinishedJob(tmp_path).write_report()
    assert result.verdict is not None
    assert [(gate.suite, gate.passed) for gate in result.gates] == [("house", True)]
    assert [(each.model, each.baseline) for each in result.differences if each.suite == "house"] == [
        (model, "student") for model in SKILLS if model != "student"
    ]
    assert result.scores == []  # those are the evaluations'


def test_equal_stages_make_an_equal_report(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert FinishedJob(tmp_path / "one").write_report().digest == FinishedJob(tmp_path / "two").write_report().digest


def test_a_stage_without_a_result_is_named(tmp_path: Path) -> None:
    job = FinishedJob(tmp_path)
    [merge] = [stage for stage in build_graph(job.job, {}, {}).stages if stage.kind is StageKind.CURATE][:1]
    (job.folder(merge) / "result.json").unlink()
    with pytest.raises(InputError, match=r"curate/math/\w+: no finished output: run the job again"):
        job.write_report()

"""What is concluded: the verdict, the remarks, the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from branchmerge.api.evaluation import Gate, Suite
from branchmerge.api.stage import ModelRef, ReportTask, Score, StageResult
from branchmerge_trainer.report.comparisons import Comparison, compare
from branchmerge_trainer.report.facts import Facts, Stage
from branchmerge_trainer.report.gates import judge
from branchmerge_trainer.report.verdict import remarks, verdict
from builders import at

MODELS = ("student", "specialist/math", "specialist/coding", "merged")
HALF = 0.05
"""Of every interval."""


def facts_of(
    gains: Mapping[str, float],
    *,
    gaps: Mapping[str, float] | None = None,
    models: Sequence[str] = MODELS,
    validation: Sequence[str] = (),
    gates: Sequence[Gate] = (),
    cut_off: float = 0.0,
) -> Facts:
    """A merged model that scores 0.5 everywhere, `gains` above the student and `gaps` above specialist/math."""
    suites = [
        Suite.model_validate(
            {"name": name, "path": "q.jsonl", "method": "exact", "role": "Validation" if name in validation else "Test"}
        )
        for name in gains
    ]
    values = {"merged": 0.5, "specialist/math": 0.45}
    evaluations = {
        model: StageResult(
            stage=f"evaluate/{model}",
            fingerprint="f",
            digest="d",
            started_at=at(0),
            finished_at=at(1),
            figures={"truncated": cut_off},
            scores=[_score(name, values.get(model, 0.4)) for name in gains],
        )
        for model in models
    }
    differences = [("merged", "student", name, gain) for name, gain in gains.items()]
    differences += [("merged", "specialist/math", name, gap) for name, gap in (gaps or {}).items()]
    return Facts(
        job="tiny",
        task=ReportTask(
            student=ModelRef(name="student", model="m"),
            merged=ModelRef(name="merged", output="o"),
            curate={},
            train={},
            merge={},
            evaluate={model: model for model in models},
            suites=suites,
            gates=list(gates),
            spec={},
        ),
        student_hub_id=None,
        branches=[],
        merges=[],
        evaluations={model: Stage(result, {}) for model, result in evaluations.items()},
        comparisons=[
            Comparison(model, baseline, suite, value, value - HALF, value + HALF, 100, 0.071)
            for model, baseline, suite, value in differences
            if {model, baseline} <= {*models}
        ],
    )


def _score(suite: str, value: float) -> Score:
    return Score(suite=suite, metric="pass@1", value=value, ci95=(value - HALF, value + HALF), n=100)


VERDICTS: dict[str, tuple[dict[str, Any], str]] = {
    "better on the one suite": (
        {"gains": {"a": 0.2}},
        "The merged model beats the student on a +0.200, with its interval clear of zero.",
    ),
    "better on all suites": (
        {"gains": {"a": 0.2, "b": 0.1}},
        "The merged model beats the student on all 2 suites (a +0.200 and b +0.100), with each interval clear of zero.",
    ),
    "better on one, unclear on one": (
        {"gains": {"a": 0.2, "b": 0.01}},
        "The merged model beats the student on a +0.200 and cannot be told from it on b +0.010 (95% intervals).",
    ),
    "better on one, worse on one": (
        {"gains": {"a": 0.2, "b": -0.2}},
        "The merged model beats the student on a +0.200 and loses to it on b -0.200 (95% intervals).",
    ),
    "unclear everywhere": (
        {"gains": {"a": 0.01, "b": -0.01}},
        "The merged model cannot be told from the student on a +0.010 and b -0.010 (95% intervals).",
    ),
    "worse everywhere": (
        {"gains": {"a": -0.2}},
        "The merged model loses to the student on a -0.200 (95% intervals).",
    ),
    "all three": (
        {"gains": {"a": 0.2, "b": -0.2, "c": 0.0}},
        (
            "The merged model beats the student on a +0.200, cannot be told from it on c +0.000 and loses to it on "
            "b -0.200 (95% intervals)."
        ),
    ),
    "many suites": (
        {"gains": dict.fromkeys("abcdefg", 0.1)},
        (
            "The merged model beats the student on all 7 suites (a +0.100, b +0.100, c +0.100, d +0.100 and 3 more), "
            "with each interval clear of zero."
        ),
    ),
    "worse than a specialist": (
        {"gains": {"a": 0.2, "b": 0.2}, "gaps": {"a": -0.1, "b": 0.0}},
        (
            "The merged model beats the student on all 2 suites (a +0.200 and b +0.200), with each interval clear of "
            "zero; it loses to the best specialist on a."
        ),
    ),
    "better than one specialist, worse than another": (
        {"gains": {"a": 0.2, "b": -0.2}, "gaps": {"a": 0.1, "b": -0.1}},
        (
            "The merged model beats the student on a +0.200 and loses to it on b -0.200 (95% intervals); it beats the "
            "best specialist on a and loses to it on b."
        ),
    ),
    "validation suites do not count": (
        {"gains": {"a": 0.2, "b": -0.2}, "gaps": {"b": -0.3}, "validation": ["b"]},
        "The merged model beats the student on a +0.200, with its interval clear of zero.",
    ),
    "no suites": ({"gains": {}}, "Nothing was measured: the job has no evaluation."),
    "no student": (
        {"gains": {"a": 0.2}, "models": ["merged"]},
        "The merged model was not compared with the student: add student to evaluation.models.",
    ),
    "no merged model": (
        {"gains": {"a": 0.2}, "models": ["student"]},
        "The merged model was not measured: add merged to evaluation.models.",
    ),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_is_one_honest_sentence(case: str) -> None:
    world, sentence = VERDICTS[case]
    assert verdict(facts_of(**world)) == sentence


REMARKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "clear": ({"gains": {"a": 0.2}}, []),
    "too wide to tell": (
        {"gains": {"a": 0.01}},
        [
            (
                "a: the interval of the gain, [-0.040, +0.060], holds zero. With 100 questions the smallest detectable "
                "gain is 0.071 (80% probability); more questions would tell."
            )
        ],
    ),
    "answers cut off": (
        {"gains": {"a": 0.2}, "models": ["student", "merged"], "cut_off": 0.125},
        ["Answers that maxTokens cut off, which mostly count as wrong: student 12.5% and merged 12.5%."],
    ),
    "several comparisons": (
        {"gains": {"a": 0.2, "b": 0.2, "c": 0.2}},
        ["Each of the 3 intervals holds the true gain with 95% probability; all at once with less."],
    ),
}


@pytest.mark.parametrize("case", REMARKS)
def test_remarks_say_what_else_matters(case: str) -> None:
    world, told = REMARKS[case]
    assert remarks(facts_of(**world)) == told


GATES: dict[str, tuple[float, dict[str, Any], bool, str]] = {
    "gain by its estimate": (0.06, {"min_gain": "0.04"}, True, "gain 0.060 >= 0.04"),
    "gain by its lower bound, missed": (
        0.06,
        {"min_gain": "0.04", "bound": "LowerBound"},
        False,
        "gain 0.060 (lower bound 0.010) < 0.04",
    ),
    "gain by its lower bound, reached": (
        0.312,
        {"min_gain": "0.02", "bound": "LowerBound"},
        True,
        "gain 0.312 (lower bound 0.262) >= 0.02",
    ),
    "no loss at all allowed": (-0.01, {"min_gain": "0"}, False, "gain -0.010 < 0"),
    "a small loss allowed": (-0.01, {"min_gain": "-0.02"}, True, "gain -0.010 >= -0.02"),
    "score": (0.0, {"min_score": "0.5"}, True, "score 0.500 >= 0.5"),
    "score by its lower bound": (
        0.0,
        {"min_score": "0.5", "bound": "LowerBound"},
        False,
        "score 0.500 (lower bound 0.450) < 0.5",
    ),
    "score and gain, one missed": (
        0.06,
        {"min_score": "0.6", "min_gain": "0.01"},
        False,
        "score 0.500 < 0.6; gain 0.060 >= 0.01",
    ),
    "missed by less than three digits show": (0.0199996, {"min_gain": "0.02"}, False, "gain 0.0199996 < 0.02"),
    "reached but for rounding of the sum": (0.02 - 1e-15, {"min_gain": "0.02"}, True, "gain 0.020 >= 0.02"),
}


@pytest.mark.parametrize("case", GATES)
def test_gates_compare_the_figure_that_they_name(case: str) -> None:
    gain, fields, passed, message = GATES[case]
    [result] = judge(facts_of({"a": gain}, gates=[Gate(suite="a", **fields)]))
    assert (result.passed, result.message) == (passed, message)


def test_what_was_not_measured_passes_no_gate() -> None:
    facts = facts_of({"a": 0.2}, models=["student"], gates=[Gate(suite="a", min_score="0.1", min_gain="0.1")])
    [result] = judge(facts)
    assert (result.passed, result.message) == (False, "score was not measured; gain was not measured")


def test_the_detectable_gain_follows_the_spread_of_answers() -> None:
    one = compare("merged", "student", "a", {str(q): q % 2 for q in range(100)}, {str(q): 0.0 for q in range(100)})
    four = compare("merged", "student", "a", {str(q): q % 2 for q in range(400)}, {str(q): 0.0 for q in range(400)})
    assert one.detectable == pytest.approx(2 * four.detectable, rel=0.02)
    assert one.detectable == pytest.approx((1.984 + 0.845) * 0.5025 / 10, rel=0.01)  # (t.975 + t.8) s / sqrt(Q)


def test_equal_answers_do_not_make_small_gains_detectable() -> None:
    same = {str(question): 1.0 for question in range(100)}
    compared = compare("merged", "student", "a", same, same)
    assert (compared.value, compared.tone) == (0.0, "unclear")
    assert compared.detectable == pytest.approx(compared.high) == pytest.approx(0.037, abs=0.001)

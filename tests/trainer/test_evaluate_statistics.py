"""Intervals and differences: known answers, properties, and what they promise in simulations."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchmerge_trainer.evaluate.statistics import (
    Interval,
    cluster_robust,
    paired_difference,
    pass_at_1,
    smallest_detectable_gain,
    wilson,
)

SCORES = st.dictionaries(st.text(min_size=1, max_size=4), st.floats(0, 1), min_size=1, max_size=12)
ANSWERS = st.dictionaries(
    st.text(min_size=1, max_size=4), st.lists(st.integers(0, 1), min_size=1, max_size=4), min_size=1, max_size=12
)


def by_question(values: list[float]) -> dict[str, float]:
    return {f"q{number}": value for number, value in enumerate(values)}


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        pytest.param(81, 263, 0.2553, 0.3662, id="Newcombe 1998, table I, method 3: 81 of 263"),
        pytest.param(15, 148, 0.0624, 0.1605, id="Newcombe 1998: 15 of 148"),
        pytest.param(0, 20, 0.0, 0.1611, id="Newcombe 1998: 0 of 20"),
        pytest.param(1, 29, 0.0061, 0.1718, id="Newcombe 1998: 1 of 29"),
        pytest.param(29, 29, 1 - 0.1170, 1.0, id="all right is not certainty"),
    ],
)
def test_wilson_agrees_with_the_literature(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes, trials)
    assert interval.value == successes / trials
    assert interval[1:] == pytest.approx((low, high), abs=5e-5)


def test_the_cluster_interval_of_four_questions_worked_by_hand() -> None:
    # mean .475; deviations -.375, -.075, .125, .325; s = √(.2675/3) = .298608; t(3) at .975 = 3.182446
    interval = cluster_robust([0.1, 0.4, 0.6, 0.8])
    half = 3.182446 * 0.298608 / 2
    assert interval == pytest.approx((0.475, 0.0, 0.475 + half), abs=1e-6), "the low end is clipped: it were -.0002"


def test_the_cluster_interval_uses_the_error_of_cluster_robust_regression_on_a_constant() -> None:
    answers = {"a": [1, 1, 0, 1], "b": [0, 0, 1, 0], "c": [1, 1, 1, 1], "d": [0, 1, 0, 1], "e": [0, 0, 0, 1]}
    every = [value for samples in answers.values() for value in samples]
    mean = sum(every) / len(every)
    sums = [sum(value - mean for value in samples) for samples in answers.values()]
    groups = len(sums)
    error = math.sqrt(groups / (groups - 1) * sum(total**2 for total in sums)) / len(every)  # CR1 of an intercept
    t_975 = 2.776445  # 4 degrees of freedom
    interval = pass_at_1(answers)
    assert (interval.high - interval.low) / 2 == pytest.approx(t_975 * error, rel=1e-6)


def test_the_paired_difference_agrees_with_students_sleep_data() -> None:
    # Student 1908; R: t.test(extra ~ group, sleep, paired) gives 1.58, 95% interval 0.7001142 to 2.4598858.
    drug_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    drug_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    interval = paired_difference(
        by_question([hours / 10 for hours in drug_2]), by_question([hours / 10 for hours in drug_1])
    )
    assert interval == pytest.approx((0.158, 0.07001142, 0.24598858), abs=1e-8)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param({"a": [1], "b": [0], "c": [1], "d": [1]}, wilson(3, 4), id="one sample a question: Wilson"),
        pytest.param({"a": [1, 0], "b": [1, 1]}, cluster_robust([0.5, 1.0]), id="more samples: clusters"),
        pytest.param({"a": [1, 0, 0, 0], "b": [1]}, cluster_robust([0.25, 1.0]), id="each question counts the same"),
        pytest.param({"a": [1, 1]}, Interval(1.0, wilson(1, 1).low, 1.0), id="one question says little"),
    ],
)
def test_pass_at_1_chooses_its_interval_by_the_number_of_samples(
    answers: dict[str, list[int]], expected: Interval
) -> None:
    assert pass_at_1(answers) == pytest.approx(expected)


def test_no_variation_is_not_certainty() -> None:
    same = {f"q{number}": 1.0 for number in range(100)}
    interval = paired_difference(same, same)
    assert interval.value == 0
    assert interval.low == pytest.approx(-wilson(0, 100).high)
    assert interval.high == pytest.approx(wilson(0, 100).high)
    assert cluster_robust([1.0] * 100) == pytest.approx(wilson(100, 100))


def test_models_that_answered_different_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"2 question\(s\).*'b', 'c'.*same suite"):
        paired_difference({"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0})


@pytest.mark.parametrize("answers", [{}, {"a": []}], ids=["no question", "a question without answers"])
def test_a_score_needs_answers(answers: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one question"):
        pass_at_1(answers)


@given(ANSWERS)
def test_a_score_lies_in_its_interval_and_both_lie_in_0_to_1(answers: dict[str, list[int]]) -> None:
    value, low, high = pass_at_1(answers)
    assert 0 <= low <= value <= high <= 1
    assert value == pytest.approx(sum(sum(s) / len(s) for s in answers.values()) / len(answers))


@given(ANSWERS, st.randoms())
def test_a_score_does_not_depend_on_the_order_of_questions(answers: dict[str, list[int]], rng: random.Random) -> None:
    shuffled = list(answers.items())
    rng.shuffle(shuffled)
    assert pass_at_1(dict(shuffled)) == pytest.approx(pass_at_1(answers))


@given(SCORES, st.data())
def test_a_difference_is_bounded_and_turns_its_sign_with_its_models(
    scores: dict[str, float], data: st.DataObject
) -> None:
    other = {question: data.draw(st.floats(0, 1)) for question in scores}
    there, back = paired_difference(scores, other), paired_difference(other, scores)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)


@given(SCORES)
def test_a_model_never_differs_from_itself(scores: dict[str, float]) -> None:
    value, low, high = paired_difference(scores, scores)
    assert value == 0
    assert low < 0 < high


def test_the_interval_covers_the_true_score_where_a_naive_one_does_not() -> None:
    """30 questions of 16 samples, the difficulty of questions drawn from a U-shaped distribution (AIME's case)."""
    rng = np.random.default_rng(1)
    trials, questions, samples = 500, 30, 16
    z = NormalDist().inv_cdf(0.975)
    covered = naive = 0
    for _ in range(trials):
        means = rng.binomial(samples, rng.beta(0.6, 0.4, questions)) / samples
        interval = cluster_robust(list(means))
        covered += interval.low <= 0.6 <= interval.high
        half = z * math.sqrt(interval.value * (1 - interval.value) / (questions * samples))
        naive += abs(interval.value - 0.6) <= half
    assert covered / trials > 0.92
    assert naive / trials < 0.65


def test_the_smallest_detectable_gain_approaches_the_formula_of_many_questions() -> None:
    # (1.959964 + 0.841621) √(2 · .25 / 10,000)
    assert smallest_detectable_gain(10_000) == pytest.approx(0.0198102, rel=1e-3)
    assert smallest_detectable_gain(1) == 1.0
    assert smallest_detectable_gain(30, 16) < smallest_detectable_gain(30, 1)
    assert smallest_detectable_gain(30, 16, spread=0.2) > smallest_detectable_gain(30, 16)


def test_a_gain_of_the_smallest_detectable_size_is_detected_as_often_as_promised() -> None:
    rng = np.random.default_rng(2)
    trials, questions, samples = 500, 60, 4
    gain = smallest_detectable_gain(questions, samples, score=0.5)
    shown = 0
    for _ in range(trials):
        student = rng.binomial(samples, 0.5 - gain / 2, questions) / samples
        merged = rng.binomial(samples, 0.5 + gain / 2, questions) / samples
        shown += paired_difference(by_question(list(merged)), by_question(list(student))).low > 0
    assert 0.74 < shown / trials < 0.88

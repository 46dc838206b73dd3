"""How sure a score is: intervals over questions, paired differences, and the smallest gain that a suite can show.

The question is the unit that is drawn at random. Samples of one question resemble each other, so counting them as
independent makes intervals far too short: at 30 questions of 16 samples a naive binomial 95% interval covers 52%. See
Miller, "Adding Error Bars to Evals" (arXiv 2411.00640). Pure functions on plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A figure and the interval that holds the true one with the asked confidence."""

    value: float
    low: float
    high: float


def pass_at_1(answers: Mapping[str, Sequence[float]], confidence: float = CONFIDENCE) -> Interval:
    """pass@1 of a suite: the mean over questions of the mean over their samples, and its interval.

    `answers` maps a question's id to the correctness (0 or 1) of each of its samples. One sample a question: Wilson's
    interval. More: the cluster-robust one, each question a cluster.
    """
    if not answers or not all(answers.values()):
        raise ValueError("pass@1 needs at least one question, and one answer of each")
    means = [fmean(samples) for samples in answers.values()]
    if all(len(samples) == 1 for samples in answers.values()):
        return wilson(sum(means), len(means), confidence)
    return cluster_robust(means, confidence)


def wilson(successes: float, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a binomial share: all p with |p̂ - p| <= z √(p(1-p)/n).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 22, 1927).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def cluster_robust(means: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean over questions, from each question's mean (0-1): m ± t(Q-1) s/√Q, clipped to [0, 1].

    s is the standard deviation of the questions' means. With equally many samples a question this is the cluster-robust
    (CR1) error with questions as clusters. Source: Cameron & Miller, "A Practitioner's Guide to Cluster-Robust
    Inference" (J. Human Resources 50, 2015), section VI for the t distribution with Q-1 degrees of freedom.
    """
    return _mean_interval(means, confidence, lowest=0.0, highest=1.0)


def paired_difference(
    treated: Mapping[str, float], baseline: Mapping[str, float], confidence: float = CONFIDENCE
) -> Interval:
    """Mean over questions of (treated - baseline): d ± t(Q-1) s_d/√Q, clipped to [-1, 1].

    Both map a question's id to its mean correctness (0-1). Pairing takes the difficulty of questions out of the error.
    Source: Miller, arXiv 2411.00640, on paired differences. Raises ValueError unless both answered the same questions.
    """
    if unpaired := sorted(treated.keys() ^ baseline.keys()):
        shown = ", ".join(map(repr, unpaired[:3]))
        raise ValueError(
            f"{len(unpaired)} question(s) were answered by one of the two models only ({shown}…): "
            "compare models on the same suite"
        )
    differences = [treated[question] - baseline[question] for question in sorted(treated)]
    return _mean_interval(differences, confidence, lowest=-1.0, highest=1.0)


def smallest_detectable_gain(
    questions: int,
    samples: int = 1,
    *,
    score: float = 0.5,
    spread: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = 0.8,
) -> float:
    """The least true gain that a paired comparison shows with the given power: (t_α + t_β) √((ω² + 2σ²/n) / Q).

    σ² = score (1 - score) bounds the mean variance of one answer given its question, for each of the two models;
    `spread` is ω, the standard deviation over questions of the two models' true difference. Source: Miller, arXiv
    2411.00640, on power analysis, with t(Q-1) quantiles in place of the normal ones. Below 2 questions: 1.
    """
    if questions < 2:
        return 1.0
    quantiles = _t_quantile((1 + confidence) / 2, questions - 1) + _t_quantile(power, questions - 1)
    variance = spread**2 + 2 * score * (1 - score) / samples
    return min(1.0, quantiles * math.sqrt(variance / questions))


def _mean_interval(values: Collection[float], confidence: float, *, lowest: float, highest: float) -> Interval:
    """t interval of the mean of independent values that lie between `lowest` and `highest`."""
    count = len(values)
    if count == 0:
        raise ValueError("an interval needs at least one question")
    mean = fmean(values)
    if max(values) == min(values):
        # No variation seen is not certainty: up to Wilson's bound for 0 of `count`, other questions may differ fully.
        unseen = wilson(0, count, confidence).high
        return Interval(mean, mean - unseen * (mean - lowest), mean + unseen * (highest - mean))
    half = _t_quantile((1 + confidence) / 2, count - 1) * stdev(values) / math.sqrt(count)
    return Interval(mean, max(lowest, mean - half), min(highest, mean + half))


def _t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t; by scipy.special, because scipy.stats takes a second to import."""
    return float(stdtrit(degrees, probability))

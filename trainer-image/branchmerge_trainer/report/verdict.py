"""What the figures say, in words, and whether they pass the gates. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from branchmerge.api.evaluation import Bound, Gate, Suite, SuiteRole
from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import Difference, GateResult, Score
from branchmerge_trainer.evaluate.statistics import smallest_detectable_gain


@dataclass(frozen=True)
class Finding:
    """How the merged model compares with the student on one suite."""

    suite: str
    difference: Difference

    @property
    def better(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.difference.ci95[0] > 0

    @property
    def worse(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.difference.ci95[1] < 0


def findings(suites: Sequence[Suite], differences: Sequence[Difference]) -> list[Finding]:
    """The merged model against the student on each Test suite, where both were measured."""
    by_suite = {each.suite: each for each in differences if (each.model, each.baseline) == (MERGED, STUDENT)}
    return [
        Finding(suite.name, by_suite[suite.name])
        for suite in suites
        if suite.role is SuiteRole.TEST and suite.name in by_suite
    ]


def verdict(suites: Sequence[Suite], scores: Sequence[tuple[str, Score]], found: Sequence[Finding]) -> str:
    """One honest sentence: where the merged model beats the student with an interval clear of zero, and where not."""
    if not suites:
        return "Nothing was measured: the job has no evaluation."
    if not any(model == MERGED for model, _ in scores):
        return "The merged model was not measured: add merged to evaluation.models."
    if not found:
        return "The merged model was measured, but not compared with the student: add student to evaluation.models."
    better = [each.suite for each in found if each.better]
    worse = [each.suite for each in found if each.worse]
    unclear = [each.suite for each in found if not each.better and not each.worse]
    if len(better) == len(found):
        return f"The merged model beats the student on every suite ({_listed(better)}), each interval clear of zero."
    parts = []
    if better:
        parts.append(f"beats the student on {_listed(better)}")
    if worse:
        parts.append(f"loses to it on {_listed(worse)}" if better else f"loses to the student on {_listed(worse)}")
    if unclear:
        parts.append(f"cannot be told from the student on {_listed(unclear)}")
    return f"The merged model {_listed(parts)} (95% intervals)."


def remarks(
    suites: Sequence[Suite], scores: Sequence[tuple[str, Score]], differences: Sequence[Difference]
) -> list[str]:
    """What a reader should know besides: where specialists are better, and what could not be seen at all."""
    return [*_specialists(differences), *_power(suites, scores)]


def judge(
    gates: Sequence[Gate], scores: Sequence[tuple[str, Score]], differences: Sequence[Difference]
) -> list[GateResult]:
    """Whether the merged model passes each gate, and by which figure. What was not measured does not pass."""
    merged = {score.suite: score for model, score in scores if model == MERGED}
    gains = {each.suite: each for each in differences if (each.model, each.baseline) == (MERGED, STUDENT)}
    return [_judge(gate, merged.get(gate.suite), gains.get(gate.suite)) for gate in gates]


def _judge(gate: Gate, score: Score | None, gain: Difference | None) -> GateResult:
    checks = []
    for what, least, figure in (("score", gate.min_score, score), ("gain", gate.min_gain, gain)):
        if least is None:
            continue
        if figure is None:
            checks.append((False, f"{what} was not measured"))
            continue
        lower = gate.bound is Bound.LOWER_BOUND
        compared = figure.ci95[0] if lower else figure.value
        shown = f"{what} {figure.value:.3f}" + (f" (lower bound {compared:.3f})" if lower else "")
        passed = compared >= float(least)
        checks.append((passed, f"{shown} {'>=' if passed else '<'} {least}"))
    return GateResult(
        suite=gate.suite,
        passed=all(passed for passed, _ in checks),
        bound=gate.bound,
        message="; ".join(message for _, message in checks),
    )


def _specialists(differences: Sequence[Difference]) -> Iterator[str]:
    for each in differences:
        if each.model == MERGED and each.baseline != STUDENT and each.ci95[1] < 0:
            yield (
                f"On {each.suite} the {each.baseline.removeprefix('specialist/')} specialist is better than the merged "
                f"model by {-each.value:.3f} [{-each.ci95[1]:.3f}, {-each.ci95[0]:.3f}]."
            )


def _power(suites: Sequence[Suite], scores: Sequence[tuple[str, Score]]) -> Iterator[str]:
    student = {score.suite: score for model, score in scores if model == STUDENT}
    for suite in suites:
        score = student.get(suite.name)
        if score is not None:
            least = smallest_detectable_gain(score.n, score.samples, score=score.value)
            yield (
                f"{suite.name}: {score.n} questions x {score.samples} show a true gain of {least:.3f} or more with 80% "
                "probability; smaller ones may stay unseen."
            )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

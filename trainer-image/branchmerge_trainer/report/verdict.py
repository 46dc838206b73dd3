"""What the figures say, in words. Pure.

Only Test suites count: candidates were chosen on the Validation suites, whose scores are therefore too good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge_trainer.report.comparisons import Comparison
from branchmerge_trainer.report.facts import Facts

_MOST_NAMES = 5
_CUT_OFF = 0.01
"""Share (0-1) of answers that `maxTokens` ended, from which a reader should know."""


def verdict(facts: Facts) -> str:
    """One honest sentence: where the merged model beats the student, where not, and where a specialist beats it."""
    if not facts.task.suites:
        return "Nothing was measured: the job has no evaluation."
    if not facts.test_suites:
        return "Nothing can be said: all suites are for validation; give one the role Test."
    if MERGED not in facts.evaluations:
        return "The merged model was not measured: add merged to evaluation.models."
    if STUDENT not in facts.evaluations:
        return "The merged model was not compared with the student: add student to evaluation.models."
    return f"The merged model {_against_student(gains(facts))}{_against_specialists(facts)}."


def gains(facts: Facts) -> list[Comparison]:
    """The merged model against the student on each Test suite, where both were measured."""
    found = (facts.comparison(MERGED, suite.name) for suite in facts.test_suites)
    return [gain for gain in found if gain is not None]


def specialist_gaps(facts: Facts) -> list[Comparison]:
    """The merged model against the best specialist of each Test suite, where both were measured."""
    pairs = ((suite.name, facts.best_specialist(suite.name)) for suite in facts.test_suites)
    found = (facts.comparison(MERGED, suite, best) for suite, best in pairs if best is not None)
    return [gap for gap in found if gap is not None]


def remarks(facts: Facts) -> list[str]:
    """What a reader should know besides the verdict."""
    return [*_too_wide(facts), *_cut_off(facts), *_by_chance(facts)]


def _against_student(compared: Sequence[Comparison]) -> str:
    better = [gain for gain in compared if gain.better]
    if len(better) == len(compared):
        where = f"on {_named(better)}"
        if len(compared) > 1:
            where = f"on all {len(compared)} suites ({_named(better)})"
        return f"beats the student {where}, with {'each' if len(compared) > 1 else 'its'} interval clear of zero"
    parts = (
        ("beats {} on {}", better),
        ("cannot be told from {} on {}", [gain for gain in compared if not gain.better and not gain.worse]),
        ("loses to {} on {}", [gain for gain in compared if gain.worse]),
    )
    clauses = [(words, _named(found)) for words, found in parts if found]
    said = [words.format("it" if place else "the student", names) for place, (words, names) in enumerate(clauses)]
    return f"{_listed(said)} (95% intervals)"


def _against_specialists(facts: Facts) -> str:
    gaps = specialist_gaps(facts)
    above, below = [gap.suite for gap in gaps if gap.better], [gap.suite for gap in gaps if gap.worse]
    said = []
    if above:
        said.append(f"beats the best specialist on {_listed(above)}")
    if below:
        said.append(f"loses to {'it' if above else 'the best specialist'} on {_listed(below)}")
    return f"; it {_listed(said)}" if said else ""


def _too_wide(facts: Facts) -> Iterator[str]:
    for gain in gains(facts):
        if gain.tone == "unclear":
            yield (
                f"{gain.suite}: the interval of the gain, [{gain.low:+.3f}, {gain.high:+.3f}], holds zero. With "
                f"{_questions(gain.questions)} the smallest detectable gain is {gain.detectable:.3f} (80% "
                "probability); more questions would tell."
            )


def _cut_off(facts: Facts) -> Iterator[str]:
    shares = {model: stage.result.figures.get("truncated", 0.0) for model, stage in facts.evaluations.items()}
    cut = [f"{model} {share:.1%}" for model, share in shares.items() if share >= _CUT_OFF]
    if cut:
        yield f"Answers that maxTokens cut off, which mostly count as wrong: {_listed(cut)}."


def _by_chance(facts: Facts) -> Iterator[str]:
    count = len(gains(facts))
    if count > 1:
        yield f"Each of the {count} intervals holds the true gain with 95% probability; all at once with less."


def _named(compared: Sequence[Comparison]) -> str:
    return _listed([f"{each.suite} {each.value:+.3f}" for each in compared])


def _listed(words: Sequence[str]) -> str:
    if len(words) > _MOST_NAMES:
        words = [*words[: _MOST_NAMES - 1], f"{len(words) - _MOST_NAMES + 1} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _questions(count: int) -> str:
    return "1 question" if count == 1 else f"{count:,} questions"

"""Keeps rows of a certain form: a closed trace, a boxed answer, prose in certain languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any

from branchmerge.api.data import Require
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.verify.math_judge import last_boxed
from branchmerge_trainer.verify.text import END_THINK, THINK

_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`"
    r"|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|\\begin\{(\w+\*?)\}.*?\\end\{\1\}"
    r"|\\[a-zA-Z]+(?:\{[^{}]*\})*"
    r"|https?://\S+",
    re.DOTALL,
)
_LEAST_LETTERS = 40
"""A text with fewer says too little of its language: it is kept."""
_JUDGED_CHARACTERS = 200
"""More would cost time (a millisecond for these) and change little."""

Check = Callable[[Candidate], tuple[str, str] | None]
"""(reason, detail) where a row has not the form."""


def required(candidates: Iterable[Candidate], require: Require, drop: Drop) -> Iterator[Candidate]:
    """Drop the rows that have not the form that is required. Nothing is kept in memory."""
    checks = list(_checks(require))
    for candidate in candidates:
        flaw = next((found for check in checks if (found := check(candidate)) is not None), None)
        if flaw is None:
            yield candidate
        else:
            reason, detail = flaw
            drop(reason, candidate, detail)


def prose(text: str) -> str:
    """What is left of a text without trace (which may wander through languages), code, formulas and addresses."""
    return " ".join(_NO_PROSE.sub(" ", text.rpartition(END_THINK)[2]).split())


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a prose's language by py3langid; None where there is too little of it to tell."""
    beginning = text[:_JUDGED_CHARACTERS]
    if sum(map(str.isalpha, beginning)) < _LEAST_LETTERS:
        return None
    return str(_identifier().classify(beginning)[0])


def _checks(require: Require) -> Iterator[Check]:
    if require.closed_think:
        yield _unclosed
    if require.boxed_answer:
        yield _unboxed
    if require.languages:
        unknown = set(require.languages) - set(_identifier().labels)
        if unknown:
            raise InputError(f"data.require.languages: {', '.join(sorted(unknown))}: not a language that is told apart")
        yield lambda candidate: _foreign(candidate, require.languages)


def _unclosed(candidate: Candidate) -> tuple[str, str] | None:
    _, closed, rest = candidate.answer.rpartition(END_THINK)
    if THINK in rest:
        return "trace not closed", ""
    if not closed:
        return "no trace", ""
    return None if rest.strip() else ("no answer after the trace", "")


def _unboxed(candidate: Candidate) -> tuple[str, str] | None:
    boxed = last_boxed(candidate.answer.rpartition(END_THINK)[2])
    return None if boxed is not None and boxed.strip() else ("no boxed answer", "")


def _foreign(candidate: Candidate, languages: Collection[str]) -> tuple[str, str] | None:
    """Judged by the question and by the answer, each on its own."""
    for role in ("user", "assistant"):
        said = " ".join(prose(message["content"]) for message in candidate.messages if message["role"] == role)
        language = language_of(said)
        if language is not None and language not in languages:
            return "other language", f"the {role}'s text is {language}"
    return None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE)

"""Removes rows whose prompt holds a question of an evaluation suite, as OpenThoughts and open-r1 find them.

Word n-grams (lower case, punctuation away) of the questions are compared with those of every message of the user. The
answers are not compared: whoever restates a question has been asked it, while traces share phrases with everything.

Two refinements. N-grams that many questions of a suite have in common are its instructions (`Reason step by step, and
put your final answer…`), which training rows share rightly: they are left out. A question without an n-gram of its
own, because it is shorter, is compared whole and with its punctuation (`12+7` is not `12-7`): it must be part of the
prompt, or be all of it where it has fewer than five words and signs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.curate.words import plain_words, tokens

_COMMON_SHARE = 0.1
_COMMON_LEAST = 3
"""An n-gram is an instruction in at least so many questions, and in more than this share (0-1) of the suite's."""
_PART_TOKENS = 5
"""A shorter question is part of too much."""

Asked = Mapping[str, Sequence[Message]]
"""Question id -> its messages."""


def without_contamination(candidates: Iterable[Candidate], questions: QuestionIndex, drop: Drop) -> Iterator[Candidate]:
    """Drop the rows whose prompt holds one of the questions. In memory: the questions, no row."""
    for candidate in candidates:
        found = questions.held_by(candidate.messages)
        if found is None:
            yield candidate
        else:
            drop("holds a question of a suite", candidate, found)


class QuestionIndex:
    """The questions of all suites."""

    def __init__(self, suites: Mapping[str, Asked], ngram: int) -> None:
        """`suites`: suite name -> questions; `ngram`: length in words of an overlap that counts."""
        self._ngram = ngram
        self._ngrams: dict[str, str] = {}
        """N-gram -> the first question that has it."""
        self._short: dict[str, str] = {}
        """Tokens of a question that is compared whole -> the question."""
        self._short_lengths: set[int] = set()
        for suite, asked in suites.items():
            self._add(suite, asked)

    def held_by(self, messages: Sequence[Message]) -> str | None:
        """Suite and question that the user's messages hold, and by what; None where they hold none."""
        for message in messages:
            if message["role"] == "user":
                found = self._by_ngram(message["content"]) or self._whole(message["content"])
                if found is not None:
                    return found
        return None

    def _add(self, suite: str, asked: Asked) -> None:
        ngrams = {name: set(self._ngrams_of(_text(messages))) for name, messages in asked.items()}
        counts = Counter(ngram for each in ngrams.values() for ngram in each)
        common = {ngram for ngram, count in counts.items() if _is_common(count, len(asked))}
        for name, messages in asked.items():
            question = f"suite {suite}, question {name}"
            own = ngrams[name] - common
            for ngram in own:
                self._ngrams.setdefault(ngram, question)
            if not own:
                words = tokens(_text(messages))
                self._short.setdefault(" ".join(words), question)
                self._short_lengths.add(len(words))

    def _ngrams_of(self, text: str) -> Iterator[str]:
        words = plain_words(text)
        return (" ".join(words[start : start + self._ngram]) for start in range(len(words) - self._ngram + 1))

    def _by_ngram(self, text: str) -> str | None:
        shared = next((ngram for ngram in self._ngrams_of(text) if ngram in self._ngrams), None)
        return None if shared is None else f"{self._ngrams[shared]}: {shared}"

    def _whole(self, text: str) -> str | None:
        if not self._short:
            return None
        words = tokens(text)
        for length in sorted(self._short_lengths):
            starts = range(len(words) - length + 1) if length >= _PART_TOKENS else range(int(length == len(words)))
            for start in starts:
                question = self._short.get(" ".join(words[start : start + length]))
                if question is not None:
                    return question
        return None


def _is_common(count: int, questions: int) -> bool:
    return count >= _COMMON_LEAST and count > _COMMON_SHARE * questions


def _text(messages: Sequence[Message]) -> str:
    return "\n".join(message["content"] for message in messages if message["role"] == "user")

"""Removes rows whose prompt holds a question of an evaluation suite, as OpenThoughts and open-r1 find them.

Word n-grams (lower case, punctuation away) of the questions are compared with those of every message of the user. The
answers are not compared: whoever restates a question has been asked it, while traces share phrases with everything.

Two refinements. N-grams that many questions of a suite have in common are its instructions (`Reason step by step, and
put your final answer…`), which training rows share rightly: they are left out. A question without an n-gram of its
own, because it is shorter, is compared whole and with its punctuation (`12+7` is not `12-7`): it must be part of the
prompt, or be all of it where it has fewer than five words and signs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
        self._whole = _WholeQuestions()
        for suite, asked in suites.items():
            self._add(suite, asked)

    def held_by(self, messages: Sequence[Message]) -> str | None:
        """Suite and question that the user's messages hold, and by what; None where they hold none."""
        for message in messages:
            if message["role"] == "user":
                found = self._by_ngram(message["content"]) or self._whole.held_by(tokens(message["content"]))
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
                self._whole.add(tokens(_text(messages)), question)

    def _ngrams_of(self, text: str) -> Iterator[str]:
        words = plain_words(text)
        return (" ".join(words[start : start + self._ngram]) for start in range(len(words) - self._ngram + 1))

    def _by_ngram(self, text: str) -> str | None:
        shared = next((ngram for ngram in self._ngrams_of(text) if ngram in self._ngrams), None)
        return None if shared is None else f"{self._ngrams[shared]}: {shared}"


class _WholeQuestions:
    """Questions that are compared whole, token by token."""

    def __init__(self) -> None:
        self._alone: dict[tuple[str, ...], str] = {}
        """Of those that are too short to be part of a prompt: tokens -> question."""
        self._by_start: defaultdict[tuple[str, ...], list[tuple[list[str], str]]] = defaultdict(list)
        """First tokens -> the questions that begin with them, with all their tokens."""

    def add(self, words: list[str], question: str) -> None:
        if len(words) < _PART_TOKENS:
            self._alone.setdefault(tuple(words), question)
        else:
            self._by_start[tuple(words[:_PART_TOKENS])].append((words, question))

    def held_by(self, words: Sequence[str]) -> str | None:
        """The first question that a prompt holds."""
        for start in range(len(words) - _PART_TOKENS + 1):
            for asked, question in self._by_start.get(tuple(words[start : start + _PART_TOKENS]), ()):
                if words[start : start + len(asked)] == asked:
                    return question
        return self._alone.get(tuple(words))


def _is_common(count: int, questions: int) -> bool:
    return count >= _COMMON_LEAST and count > _COMMON_SHARE * questions


def _text(messages: Sequence[Message]) -> str:
    return "\n".join(message["content"] for message in messages if message["role"] == "user")

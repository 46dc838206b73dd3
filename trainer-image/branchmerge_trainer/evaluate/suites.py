"""The questions of a suite: rows of `{id, prompt or messages, answer, choices?}`, of code with `tests` for `answer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from branchmerge.api.data import Source
from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import ScoreMethod, Suite
from branchmerge_trainer.curate.rows import Message, RowError, message_of
from branchmerge_trainer.curate.sources import read_rows
from branchmerge_trainer.verify.coding import CodeTests, CodeTestsError, code_tests
from branchmerge_trainer.verify.text import reference_letter
from branchmerge_trainer.workspace import Workspace


@dataclass(frozen=True)
class Question:
    """One question, as the model is asked."""

    id: str
    messages: tuple[Message, ...]
    """System prompt and choices included."""
    answer: str
    """The reference; of a `choice` suite a letter, of a suite of code empty."""
    choices: tuple[str, ...] = ()
    tests: CodeTests | None = None
    """Of a suite of code."""


def read_questions(suite: Suite, workspace: Workspace) -> list[Question]:
    """The suite's questions in the order of its file.

    Raises InputError, naming file and row, for a row that lacks something, an id that is there twice, or no rows.
    """
    assert suite.path is not None, "refused before: builtin suites are not supported yet"
    where = f"suite {suite.name}"
    questions: dict[str, Question] = {}
    for number, row in read_rows(Source(path=suite.path), workspace, where):
        place = f"{where}: {suite.path}, row {number}"
        try:
            question = _question(row, suite)
        except RowError as error:
            raise InputError(f"{place}: {error}") from None
        if question.id in questions:
            raise InputError(f"{place}: the id {question.id!r} is there twice: give each question its own")
        questions[question.id] = question
    if not questions:
        raise InputError(f"{where}: {suite.path}: no questions: add some rows")
    return list(questions.values())


def _question(row: Mapping[str, Any], suite: Suite) -> Question:
    choices = _choices(row, suite)
    id_, messages = _text(row, "id"), tuple(_asked(row, suite, choices))
    if suite.runs_code:
        return Question(id_, messages, "", tests=_tests(row))
    answer = _text(row, "answer")
    if suite.method is ScoreMethod.CHOICE:
        answer = _letter(answer, choices)
    return Question(id_, messages, answer, choices)


def _tests(row: Mapping[str, Any]) -> CodeTests:
    if row.get("tests") is None:
        raise RowError("'tests' is missing: write the tests that an answer must pass")
    try:
        return code_tests(row["tests"], row)
    except CodeTestsError as error:
        raise RowError(f"'tests' {error}") from None


def _asked(row: Mapping[str, Any], suite: Suite, choices: tuple[str, ...]) -> list[Message]:
    messages = _messages(row)
    if choices:
        last = messages[-1]
        messages[-1] = last | {"content": f"{last['content']}\n\n{_listed(choices)}"}
    if suite.system_prompt is not None:
        if messages[0]["role"] == "system":
            raise RowError("has a system message, and so has the suite (systemPrompt): remove one of them")
        messages.insert(0, {"role": "system", "content": suite.system_prompt})
    return messages


def _messages(row: Mapping[str, Any]) -> list[Message]:
    if ("prompt" in row) == ("messages" in row):
        raise RowError("needs exactly one of 'prompt' and 'messages'")
    if "prompt" in row:
        return [{"role": "user", "content": _text(row, "prompt")}]
    entries = row["messages"]
    if not isinstance(entries, list) or not entries:
        raise RowError(f"'messages' is {entries!r}: write a list of messages")
    messages = [message_of(entry, index) for index, entry in enumerate(entries)]
    if messages[-1]["role"] != "user":
        raise RowError(f"the last message is of the role {messages[-1]['role']!r}: end with the user's question")
    return messages


def _choices(row: Mapping[str, Any], suite: Suite) -> tuple[str, ...]:
    choices = row.get("choices")
    if choices is None:
        return ()
    if suite.method is not ScoreMethod.CHOICE:
        raise RowError(f"has 'choices', which the method {suite.method} does not use: use the method choice")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise RowError(f"'choices' is {choices!r}: write a list of texts")
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise RowError(f"has {len(choices)} choices: write 2 to {len(ascii_uppercase)}")
    return tuple(choices)


def _listed(choices: tuple[str, ...]) -> str:
    """The choices as the prompt shows them: one a line, `A) …`."""
    return "\n".join(f"{letter}) {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))


def _letter(answer: str, choices: tuple[str, ...]) -> str:
    try:
        return reference_letter(answer, choices)
    except ValueError as error:
        raise RowError(f"'answer' {error}") from None


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        what = "is missing" if value is None else f"is {value!r}"
        raise RowError(f"{column!r} {what}: write a text that is not empty")
    return value

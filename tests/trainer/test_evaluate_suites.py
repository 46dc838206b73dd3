"""The questions of a suite, as the model is asked, and what is wrong with a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import Suite
from branchmerge_trainer.evaluate.suites import Question, read_questions
from branchmerge_trainer.verify.coding import Case, CodeTests
from branchmerge_trainer.workspace import Workspace

GOOD = {"id": "1", "prompt": "6*7=", "answer": "42"}
CHOICE = {"id": "1", "prompt": "Which planet is red?", "choices": ["Venus", "Mars"], "answer": "B"}


def read(folder: Path, *rows: Any, method: str = "exact", **suite: Any) -> list[Question]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "house.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return read_questions(
        Suite.model_validate({"name": "house", "path": "house.jsonl", "method": method, **suite}),
        Workspace(folder / "workspace", folder),
    )


def without(row: dict[str, Any], column: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != column}


def test_a_prompt_is_asked_as_the_user(tmp_path: Path) -> None:
    (question,) = read(tmp_path, GOOD)
    assert question == Question("1", ({"role": "user", "content": "6*7="},), "42")


def test_messages_are_asked_as_they_are(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "6*7="},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "sure?"},
    ]
    (question,) = read(tmp_path, without(GOOD, "prompt") | {"messages": messages})
    assert list(question.messages) == messages


def test_the_system_prompt_comes_first(tmp_path: Path) -> None:
    (question,) = read(tmp_path, GOOD, systemPrompt="Be brief.")
    assert question.messages[0] == {"role": "system", "content": "Be brief."}


def test_choices_are_listed_below_the_prompt(tmp_path: Path) -> None:
    (question,) = read(tmp_path, CHOICE | {"answer": "b"}, method="choice")
    assert question.messages[0]["content"] == "Which planet is red?\n\nA) Venus\nB) Mars"
    assert question.answer == "B"
    assert question.choices == ("Venus", "Mars")


@pytest.mark.parametrize(
    ("row", "method", "message"),
    [
        pytest.param("{", "exact", "line 2: cannot be read as JSON", id="no JSON"),
        pytest.param("[]", "exact", "line 2: is no JSON object", id="no object"),
        pytest.param(without(GOOD, "id"), "exact", "row 2: 'id' is missing: write a text", id="no id"),
        pytest.param(GOOD | {"id": 2}, "exact", "row 2: 'id' is 2: write a text", id="a number as id"),
        pytest.param(GOOD, "exact", "row 2: the id '1' is there twice: give each", id="an id again"),
        pytest.param(GOOD | {"id": "2", "answer": " "}, "exact", "row 2: 'answer' is ' ': write", id="an empty answer"),
        pytest.param(
            without(GOOD, "prompt") | {"id": "2"},
            "exact",
            "row 2: needs exactly one of 'prompt'",
            id="nothing is asked",
        ),
        pytest.param(
            GOOD | {"id": "2", "messages": []}, "exact", "row 2: needs exactly one of 'prompt'", id="asked twice"
        ),
        pytest.param(
            without(GOOD, "prompt") | {"id": "2", "messages": []}, "exact", "row 2: 'messages' is []", id="no message"
        ),
        pytest.param(
            without(GOOD, "prompt") | {"id": "2", "messages": [{"role": "assistant", "content": "42"}]},
            "exact",
            "row 2: the last message is of the role 'assistant': end with the user's question",
            id="an answer instead of a question",
        ),
        pytest.param(
            without(GOOD, "prompt") | {"id": "2", "messages": [{"role": "robot", "content": "42"}]},
            "exact",
            "row 2: message 0 has the role 'robot'",
            id="an unknown role",
        ),
        pytest.param(
            CHOICE | {"id": "2"},
            "exact",
            "row 2: has 'choices', which the method exact does not use",
            id="idle choices",
        ),
    ],
)
def test_a_bad_row_is_named_with_file_and_fix(tmp_path: Path, row: Any, method: str, message: str) -> None:
    with pytest.raises(InputError, match=r"suite house: house\.jsonl, ") as caught:
        read(tmp_path, GOOD, row, method=method)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(CHOICE | {"answer": "C"}, "'answer' is 'C': write one letter, A to B", id="no such choice"),
        pytest.param(
            CHOICE | {"answer": "Pluto"}, "'answer' is 'Pluto': write one letter, A to B", id="no choice's text"
        ),
        pytest.param(CHOICE | {"choices": ["Mars"]}, "has 1 choices: write 2 to 26", id="a single choice"),
        pytest.param(CHOICE | {"choices": [1, 2]}, "'choices' is [1, 2]: write a list of texts", id="numbers"),
        pytest.param(
            without(CHOICE, "choices") | {"answer": "42"}, "write one letter, A to Z", id="a number without choices"
        ),
    ],
)
def test_a_bad_choice_is_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, row, method="choice")
    assert message in str(caught.value)


CODE = {"id": "1", "prompt": "Double it.", "tests": {"inputs": ["1\n"], "outputs": ["2\n"]}}


def test_a_question_of_code_has_tests_for_an_answer(tmp_path: Path) -> None:
    (question,) = read(tmp_path, CODE, method="code")
    assert question.answer == ""
    assert question.tests == CodeTests((Case("1\n", ("2\n",)),), None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param(without(CODE, "tests"), "row 1: 'tests' is missing: write the tests", id="no tests"),
        pytest.param(CODE | {"tests": "["}, "row 1: 'tests' is '[', which is no JSON", id="no JSON"),
        pytest.param(CODE | {"tests": []}, "row 1: 'tests' holds no test: add one", id="an empty list"),
    ],
)
def test_bad_tests_are_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, row, method="code")
    assert message in str(caught.value)


def test_the_text_of_a_choice_is_as_good_a_reference_as_its_letter(tmp_path: Path) -> None:
    (question,) = read(tmp_path, CHOICE | {"answer": "Mars"}, method="choice")
    assert question.answer == "B"


def test_two_system_prompts_are_refused(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(InputError, match="row 1: has a system message, and so has the suite"):
        read(tmp_path, without(GOOD, "prompt") | {"messages": messages}, systemPrompt="c")


def test_an_empty_or_missing_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"suite house: house\.jsonl: no questions"):
        read(tmp_path)
    (tmp_path / "house.jsonl").unlink()
    with pytest.raises(InputError, match=r"suite house: house\.jsonl: not found"):
        read_questions(
            Suite(name="house", path="house.jsonl", method="exact"), Workspace(tmp_path / "workspace", tmp_path)
        )

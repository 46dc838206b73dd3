"""The filters of a curation, each on its own: form, length, repetition, contamination."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from branchmerge.api.data import Require, RowLimits
from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.curate.decontaminate import QuestionIndex, without_contamination
from branchmerge_trainer.curate.dedup import without_near_repeats, without_repeats
from branchmerge_trainer.curate.lengths import open_counter, within_characters, within_tokens
from branchmerge_trainer.curate.minhash import NearIndex, signature_of
from branchmerge_trainer.curate.require import prose, required
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.workspace import Workspace
from curation import Filtered, candidate, rows
from tinymodels import make_model, make_tokenizer, save

GERMAN = "Die Antwort ergibt sich, wenn man beide Seiten der Gleichung durch zwei teilt und dann vergleicht."
ENGLISH = "The answer follows when both sides of the equation are divided by two and are then compared."
CHINESE = (
    "把方程两边同时除以二，然后比较两边，就可以得到答案，这是最简单的方法，也是大家最常用的方法，请你自己再检查一遍。"
)

FORMS = {
    "a closed trace": ({"closedThink": True}, "<think>hm</think>4", None),
    "a trace that the prompt opened": ({"closedThink": True}, "hm</think>4", None),
    "no trace": ({"closedThink": True}, "4", "no trace"),
    "a trace without end": ({"closedThink": True}, "<think>hm", "trace not closed"),
    "a second trace without end": ({"closedThink": True}, "<think>a</think>4<think>b", "trace not closed"),
    "a trace and nothing more": ({"closedThink": True}, "<think>hm</think>\n", "no answer after the trace"),
    "a boxed answer": ({"boxedAnswer": True}, r"<think>hm</think>\boxed{\frac{1}{2}}", None),
    "boxed in the trace alone": ({"boxedAnswer": True}, r"<think>\boxed{4}</think>4", "no boxed answer"),
    "an empty box": ({"boxedAnswer": True}, r"\boxed{ }", "no boxed answer"),
    "a box without end": ({"boxedAnswer": True}, r"\boxed{4", "no boxed answer"),
    "the language that is asked for": ({"languages": ["en"]}, ENGLISH, None),
    "one of several languages": ({"languages": ["en", "de"]}, GERMAN, None),
    "another language": ({"languages": ["en"]}, GERMAN, "other language"),
    "another script": ({"languages": ["en"]}, CHINESE, "other language"),
    "a trace in another language": ({"languages": ["en"]}, f"<think>{CHINESE}</think>{ENGLISH}", None),
    "code with foreign names": ({"languages": ["en"]}, f"{ENGLISH}\n```python\n# {GERMAN * 5}\n```", None),
    "too little text to tell": ({"languages": ["en"]}, "Die Antwort ist vier.", None),
    "formulas alone": ({"languages": ["de"]}, r"$$\sum_{i=1}^{n} i = \frac{n(n+1)}{2}$$ \boxed{\text{none}}", None),
    "nothing asked": ({}, "<think>hm", None),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_rows_have_the_form_that_is_required(case: str) -> None:
    require, answer, reason = FORMS[case]

    result = Filtered(rows(answer), partial(required, require=Require.model_validate(require)))

    assert result.dropped == ({} if reason is None else {reason: 1})


def test_a_language_that_nobody_can_tell_is_an_error_of_the_spec() -> None:
    with pytest.raises(InputError, match=r"data\.require\.languages: xx: "):
        Filtered(rows("text"), partial(required, require=Require(languages=["en", "xx"])))


def test_the_question_is_judged_by_its_language_too() -> None:
    result = Filtered(rows(ENGLISH, prompt=GERMAN), partial(required, require=Require(languages=["en"])))

    assert list(result.details("other language")) == ["the user's text is de"]


def test_prose_is_what_is_no_trace_no_code_and_no_formula() -> None:
    text = "<think>hm</think>The sum $a+b$ of `x` is \\(2\\), see https://a.b/c: \\boxed{2}. ```py\nx = 1\n``` Done"

    assert prose(text) == "The sum of is , see . Done"


def test_characters_are_counted_over_all_messages() -> None:
    result = Filtered(rows("12345", "123456", prompt="12345"), partial(within_characters, most=10))

    assert result.rows == [1]
    assert list(result.details("too long")) == ["11 characters"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "student", make_model())


def count(folder: Path, limits: RowLimits) -> Any:
    counter = open_counter(ModelRef(name="student", model=str(folder)), Workspace(folder, folder))
    return partial(within_tokens, limits=limits, count=counter)


def test_tokens_are_those_that_training_makes_of_a_row(student: Path) -> None:
    limits = RowLimits(min_tokens=9, max_tokens=10)  # four special tokens, and one a character

    result = Filtered(rows("1", "12", "123", "1234", prompt="1+1"), count(student, limits))

    whole = make_tokenizer().apply_chat_template(result.kept[0].messages)["input_ids"]
    assert [each.tokens for each in result.kept] == [len(whole), 10] == [9, 10]
    assert result.dropped == {"too few tokens": 1, "too many tokens": 1}


def test_tokens_are_counted_in_order_over_many_batches(student: Path) -> None:
    answers = ["1" * (1 + number % 7) for number in range(1000)]

    result = Filtered(rows(*answers, prompt="1"), count(student, RowLimits(max_tokens=8)))

    assert [each.tokens for each in result.kept] == [5 + len(answer) for answer in answers if len(answer) <= 3]
    assert result.rows == sorted(result.rows)


def test_rows_that_the_chat_template_refuses_are_dropped_and_no_others(tmp_path: Path) -> None:
    folder = save(tmp_path / "student", make_model())
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    template = refuses + "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    plain = rows("1", "12", "123", prompt="1")
    refused = [
        replace(each, row=each.row + 3, messages=[{"role": "system", "content": "1"}, *each.messages]) for each in plain
    ]

    mixed = [each for pair in zip(plain, refused, strict=True) for each in pair]
    result = Filtered(mixed, count(folder, RowLimits(max_tokens=4)))
    none = Filtered(refused, count(folder, RowLimits(max_tokens=4)))

    assert [(each.row, each.tokens) for each in result.kept] == [(1, 3), (2, 4)]
    assert result.dropped == {"refused by the chat template": 3, "too many tokens": 1}
    assert none.dropped == {"refused by the chat template": 3}
    assert "no system here" in next(result.details("refused by the chat template"))


def test_a_student_without_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"student: .*: the tokenizer cannot be read"):
        count(tmp_path, RowLimits(max_tokens=8))


def test_equal_rows_stay_once_white_space_apart() -> None:
    result = Filtered(rows("a b", "a  b\n", "A b", "a b c", "a b"), without_repeats)

    assert result.rows == [1, 3, 4]
    assert list(result.details("repeats a row")) == ["row 1 of sources[0]"] * 2


def test_what_one_says_and_the_other_asks_is_no_repetition() -> None:
    candidates = [candidate("a", "b"), candidate("a b", "b", row=2), candidate("b", "a", row=3)]

    assert Filtered(candidates, without_repeats).rows == [1, 2, 3]


def words(count: int, seed: int) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 5000, count)]


def changed(text: list[str], places: list[int]) -> str:
    return " ".join("other" if place in places else word for place, word in enumerate(text))


def test_rows_that_differ_in_a_few_words_stay_once_and_the_first_of_them() -> None:
    text = words(400, 0)
    near, far = changed(text, [50, 200]), changed(text, [*range(0, 400, 10)])
    answers = [" ".join(text), " ".join(words(400, 1)), near, far, " ".join(text) + " and more"]

    result = Filtered(rows(*answers), partial(without_near_repeats, threshold=0.8))

    assert result.rows == [1, 2, 4]
    details = list(result.details("nearly repeats a row"))
    assert len(details) == 2
    assert all(detail.startswith("row 1 of sources[0], similarity ") for detail in details)


SHORT = {
    "an operator": ("12+7=", "12-7="),
    "a digit": ("what is the sum of 2 and 3", "what is the sum of 2 and 4"),
    "order": ("one two three four five six", "six five four three two one"),
}


@pytest.mark.parametrize("case", SHORT)
def test_short_rows_that_differ_are_no_repetition(case: str) -> None:
    first, second = SHORT[case]
    result = Filtered([candidate(first), candidate(second, row=2)], partial(without_near_repeats, threshold=0.8))

    assert result.rows == [1, 2]


@pytest.mark.parametrize("shared", [0.3, 0.6, 0.9])
def test_signatures_estimate_the_share_of_equal_shingles(shared: float) -> None:
    """Mean error over 50 pairs: its standard deviation is 0.045 / √50 at most."""
    errors = []
    for seed in range(50):
        common, left, right = words(round(600 * shared), seed), words(600, 1000 + seed), words(600, 2000 + seed)
        first, second = common + left[len(common) :], common + right[len(common) :]
        shingles = [{tuple(text[start : start + 5]) for start in range(596)} for text in (first, second)]
        jaccard = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
        errors.append(float((signature_of(first) == signature_of(second)).mean()) - jaccard)

    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.99, 1.0])
def test_every_threshold_finds_the_text_itself(threshold: float) -> None:
    index = NearIndex(threshold)
    for seed in range(1500):  # more than the index has room for at first
        index.add(signature_of(words(10, seed)))

    found = index.similar(signature_of(words(10, 1200)))

    assert found is not None
    assert found.similarity >= threshold
    assert threshold == 0.0 or (found.number, found.similarity) == (1200, 1.0)


def asked(*questions: str) -> dict[str, list[Message]]:
    return {f"q{number}": [{"role": "user", "content": text}] for number, text in enumerate(questions, start=1)}


LONG = "Let a, b and c be positive integers such that a + b + c = 100 and a divides b. How many triples are there?"
PREFIX = "Please reason step by step, and put your final answer within the box at the very end of your text. "
CONTAMINATION = {
    "the question itself": (asked(LONG), LONG, "q1"),
    "other case, punctuation and spaces": (asked(LONG), LONG.upper().replace(",", " ;"), "q1"),
    "the question within a longer prompt": (asked("1+1?", LONG), f"Solve this. {LONG} Think hard.", "q2"),
    "thirteen words of it": (asked(LONG), "Say integers such that a+b+c=100 and a divides b: how many?", "q1"),
    "twelve words of it": (asked(LONG), "Say integers such that a+b+c=100 and a divides b: how come?", None),
    "another question": (asked(LONG), "How many triples of negative integers have the sum 100, if b is odd?", None),
    "a short question": (asked("What is 2+2?"), "what is  2+2 ?", "q1"),
    "a short question within a prompt": (asked("What is 2+2?"), "Be brief. What is 2+2? Box it.", "q1"),
    "a short question with another sign": (asked("What is 2+2?"), "What is 2-2?", None),
    "a very short question": (asked("7*8="), "7*8=", "q1"),
    "a very short question within a prompt": (asked("7*8="), "17*8=", None),
    "Chinese": (asked("小明有三个苹果，小红有五个，一共有几"), "请问小明有三个苹果，小红有五个，一共有几？", "q1"),
    "instructions that a suite's questions share": (
        asked(*(f"{PREFIX}{question}" for question in ("One?", "Two?", "Three?", "Four?"))),
        f"{PREFIX}Which letter follows the letter b?",
        None,
    ),
    "a question after shared instructions": (
        asked(*(f"{PREFIX}{question}" for question in (LONG, "Two?", "Three?", "Four?"))), LONG, "q1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTAMINATION)
def test_prompts_that_hold_a_question_are_dropped(case: str) -> None:
    questions, prompt, found = CONTAMINATION[case]

    result = Filtered(
        [candidate(prompt)], partial(without_contamination, questions=QuestionIndex({"aime": questions}, 13))
    )

    details = [] if found is None else list(result.details("holds a question of a suite"))
    assert bool(result.kept) is (found is None)
    assert all(f"suite aime, question {found}" in detail for detail in details)


def test_every_turn_of_the_user_is_looked_at_and_no_answer() -> None:
    questions = QuestionIndex({"aime": asked(LONG)}, 13)
    later = candidate("Hello", "Hi")
    later.messages.extend(candidate(LONG).messages)

    result = Filtered([candidate("Go on", LONG, row=1), later], partial(without_contamination, questions=questions))

    assert len(result.kept) == 1
    assert result.kept[0].answer == LONG

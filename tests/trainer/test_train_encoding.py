"""What is learned of a row: the trace and the end of turn, after the very prompt that evaluation continues."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig

from branchmerge.api.errors import InputError
from branchmerge.api.training import LossOn
from branchmerge_trainer.chat import render_prompt
from branchmerge_trainer.train.encoding import Encoded, Encoder, Rejection
from branchmerge_trainer.train.templates import training_template
from branchmerge_trainer.turns import end_of_turn_ids
from branchmerge_trainer.workspace import Workspace
from templates import (
    ANSWERED,
    ASKED,
    BEGIN,
    DEEPSEEK,
    DROPS_TRACE,
    END,
    KEEPS_LAST_TRACE,
    NEVER_ENDS,
    OTHER_PROMPT,
    REFUSES_SYSTEM,
    make_deepseek_tokenizer,
)
from tinymodels import TEMPLATE, make_tokenizer
from training import Messages, talk

NOWHERE = Workspace.__new__(Workspace)
QUESTION = talk("1+1=", "<think>one and one</think>2")
TWO_TURNS = talk("1+1=", "<think>one</think>2", "and 1?", "<think>two</think>3")
TEMPLATE_OF_TWO_TURNS = (
    "<|user|>1+1=<|end|><|assistant|><think>one</think>2<|end|>"
    "<|user|>and 1?<|end|><|assistant|><think>two</think>3<|end|>"
)


def r1_distill(tokenizer: Any) -> str:
    return training_template("r1-distill", tokenizer, NOWHERE)


def encoder(tokenizer: Any, template: str | None = None, loss_on: LossOn = LossOn.ASSISTANT) -> Encoder:
    ends = end_of_turn_ids(tokenizer, GenerationConfig())
    return Encoder(tokenizer, template or tokenizer.chat_template, loss_on, ends)


def learned(tokenizer: Any, sequence: Encoded) -> list[str]:
    """The text of each learned span."""
    return [tokenizer.decode(sequence.tokens[start:end]) for start, end in sequence.spans]


def sequences(encoded: list[Encoded] | Rejection) -> list[Encoded]:
    assert not isinstance(encoded, Rejection), encoded
    return encoded


def assert_prompts_are_evaluations(tokenizer: Any, row: Messages, encoded: list[Encoded]) -> None:
    """Every learned turn follows the tokens that evaluation would feed for the messages before it."""
    answers = [place for place, message in enumerate(row) if message["role"] == "assistant"]
    spans = [(sequence, span) for sequence in encoded for span in sequence.spans]
    assert len(spans) == len(answers)
    for place, (sequence, (start, _)) in zip(answers, spans, strict=True):
        prompt = render_prompt(tokenizer, row[:place])
        assert sequence.tokens[:start] == tokenizer(prompt, add_special_tokens=False)["input_ids"]


def test_the_template_of_the_papers_student_deletes_the_trace_and_is_refused() -> None:
    tokenizer = make_deepseek_tokenizer()
    whole = tokenizer.apply_chat_template(QUESTION, tokenize=False)
    assert whole == f"{BEGIN}{ASKED}1+1={ANSWERED}2{END}", "else this test proves nothing"
    assert encoder(tokenizer).encode(QUESTION) is Rejection.TRACE_LOST


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param("<think>one and one</think>2", "one and one</think>2", id="trace-on-one-line"),
        pytest.param("<think>\none\nand one\n</think>\n\n2", "one\nand one\n</think>\n\n2", id="trace-as-r1-writes-it"),
        pytest.param("one and one</think>2", "one and one</think>2", id="opening-left-out"),
        pytest.param("2", "\n</think>\n\n2", id="no-trace"),
    ],
)
def test_r1_distill_learns_trace_and_end_of_turn_after_evaluations_prompt(answer: str, expected: str) -> None:
    tokenizer = make_deepseek_tokenizer()
    row = talk("1+1=", answer)
    (sequence,) = sequences(encoder(tokenizer, r1_distill(tokenizer)).encode(row))
    assert learned(tokenizer, sequence) == [f"{expected}{END}"]
    assert tokenizer.decode(sequence.tokens) == f"{BEGIN}{ASKED}1+1={ANSWERED}<think>\n{expected}{END}"
    assert_prompts_are_evaluations(tokenizer, row, [sequence])


@pytest.mark.parametrize(
    ("row", "count"),
    [
        pytest.param(QUESTION, 1, id="one-turn"),
        pytest.param(talk("1+1=", "<think>one</think>2", system="be brief"), 1, id="with-system-message"),
        pytest.param(TWO_TURNS, 2, id="history-loses-its-trace-so-each-turn-is-a-sequence"),
        pytest.param(talk("1+1=", "2", "and 1?", "3"), 2, id="history-was-forced-to-think"),
    ],
)
def test_prompts_of_r1_distill_are_those_of_the_students_own_template(row: Messages, count: int) -> None:
    tokenizer = make_deepseek_tokenizer()
    encoded = sequences(encoder(tokenizer, r1_distill(tokenizer)).encode(row))
    assert len(encoded) == count
    assert_prompts_are_evaluations(tokenizer, row, encoded)


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        pytest.param(TEMPLATE, QUESTION, [["<think>one and one</think>2<|end|>"]], id="one-turn"),
        pytest.param(
            TEMPLATE,
            TWO_TURNS,
            [["<think>one</think>2<|end|>", "<think>two</think>3<|end|>"]],
            id="turns-of-a-kept-history-share-a-sequence",
        ),
        pytest.param(
            KEEPS_LAST_TRACE,
            TWO_TURNS,
            [["<think>one</think>2<|end|>"], ["<think>two</think>3<|end|>"]],
            id="each-turn-is-learned-with-its-trace-though-history-drops-it",
        ),
        pytest.param(
            KEEPS_LAST_TRACE,
            talk("1+1=", "2", "and 1?", "3"),
            [["2<|end|>", "3<|end|>"]],
            id="the-line-break-after-a-turn-is-not-learned",
        ),
        pytest.param(
            TEMPLATE,
            [*TWO_TURNS, *talk("more?")],
            [["<think>one</think>2<|end|>", "<think>two</think>3<|end|>"]],
            id="a-question-without-answer-is-left-out",
        ),
    ],
)
def test_what_is_learned_of_the_students_own_template(template: str, row: Messages, expected: list[list[str]]) -> None:
    tokenizer = make_tokenizer(template=template)
    encoded = sequences(encoder(tokenizer).encode(row))
    assert [learned(tokenizer, sequence) for sequence in encoded] == expected
    assert_prompts_are_evaluations(tokenizer, row, encoded)


@pytest.mark.parametrize(
    ("loss_on", "expected"),
    [
        pytest.param(LossOn.ASSISTANT, ["<think>one</think>2<|end|>", "<think>two</think>3<|end|>"], id="all-turns"),
        pytest.param(LossOn.LAST_TURN, ["<think>two</think>3<|end|>"], id="last-turn"),
        pytest.param(
            LossOn.ALL,
            [TEMPLATE_OF_TWO_TURNS],
            id="everything",
        ),
    ],
)
def test_which_turns_are_learned(loss_on: LossOn, expected: list[str]) -> None:
    tokenizer = make_tokenizer()
    (sequence,) = sequences(encoder(tokenizer, loss_on=loss_on).encode(TWO_TURNS))
    assert learned(tokenizer, sequence) == expected
    assert not sequence.mask()[0], "nothing predicts the first token"


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        pytest.param(DROPS_TRACE, QUESTION, Rejection.TRACE_LOST, id="trace-dropped"),
        pytest.param(DROPS_TRACE, talk("1?", "<think>2</think>1 2 3"), Rejection.TRACE_LOST, id="trace-in-the-answer"),
        pytest.param(NEVER_ENDS, QUESTION, Rejection.NOT_CLOSED, id="no-end-of-turn"),
        pytest.param(OTHER_PROMPT, QUESTION, Rejection.PROMPT_DIFFERS, id="another-prompt-than-evaluation"),
        pytest.param(TEMPLATE, QUESTION[1:], Rejection.NO_TURN, id="no-question"),
        pytest.param(TEMPLATE, QUESTION[:1], Rejection.NO_TURN, id="no-answer"),
    ],
)
def test_rows_that_a_template_spoils(template: str, row: Messages, expected: Rejection) -> None:
    assert encoder(make_tokenizer(), template).encode(row) is expected


def test_a_template_whose_prompt_opens_more_than_its_turns_is_found() -> None:
    tokenizer = make_tokenizer(template=TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|>So: {% endif %}"))
    assert encoder(tokenizer).encode(talk("1+1=", "2")) is Rejection.NOT_CONTINUED


def test_a_row_that_the_template_refuses_is_told_with_its_reason() -> None:
    tokenizer = make_tokenizer(template=REFUSES_SYSTEM)
    with pytest.raises(InputError, match="no system please"):
        encoder(tokenizer).encode(talk("1+1=", "2", system="be brief"))


def test_a_broken_template_is_told() -> None:
    with pytest.raises(InputError, match="refuses"):
        encoder(make_tokenizer(), "{% for message in messages %}")


def test_a_cut_sequence_keeps_what_is_left_of_its_spans() -> None:
    tokenizer = make_tokenizer()
    (sequence,) = sequences(encoder(tokenizer).encode(TWO_TURNS))
    (start, end), _ = sequence.spans
    assert sequence.cut(end - 2).spans == [(start, end - 2)]
    assert not sequence.cut(start).mask().any()


def test_deepseeks_template_is_the_one_that_deletes() -> None:
    assert "split('</think>')[-1]" in DEEPSEEK

"""Every mistake that only training can see: one message that says where, what, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import StageResult
from templates import DROPS_TRACE, FIRST_AND_LAST, NEVER_ENDS, OTHER_PROMPT, REFUSES_SYSTEM, make_deepseek_tokenizer
from tinymodels import make_model, make_tokenizer
from training import Bench, sums, talk

FIELD = r"training\.chatTemplate\.training: "


def remove(*names: str) -> Callable[[Bench], None]:
    def change(bench: Bench) -> None:
        for name in names:
            (bench.root / "student" / name).unlink()

    return change


def write_rows(*rows: Any) -> Callable[[Bench], None]:
    return lambda bench: bench.rows("math", rows)


def write_template(text: str) -> Callable[[Bench], None]:
    def change(bench: Bench) -> None:
        (bench.root / "own.jinja").write_text(text)

    return change


def cut_weights(bench: Bench) -> None:
    file = bench.root / "student" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def remove_rows(bench: Bench) -> None:
    (bench.root / "rows" / "math" / "rows.parquet").unlink()


def nothing(_: Bench) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        pytest.param(remove("config.json"), {}, r"student: .*student: no config\.json", id="no-configuration"),
        pytest.param(
            remove("tokenizer.json", "tokenizer_config.json"), {}, "student: .*student: no tokenizer", id="no-tokenizer"
        ),
        pytest.param(cut_weights, {}, r"model\.safetensors: damaged or cut off", id="weights-cut-off"),
        pytest.param(
            remove_rows, {}, r"branch math: .*rows\.parquet: no curated rows.*run the job again", id="no-rows"
        ),
        pytest.param(write_rows(), {}, "branch math: .*: no rows: give it data", id="empty-rows"),
        pytest.param(
            nothing,
            {"sequenceLength": 10},
            r"branch math: none of 40 rows can be learned \(longer than sequenceLength: 40\): raise training\."
            "sequenceLength",
            id="nothing-fits",
        ),
        pytest.param(
            write_rows(talk("hello"), talk("you there?")),
            {},
            "branch math: none of 2 rows can be learned .*give it rows with an answer",
            id="nothing-answered",
        ),
        pytest.param(
            nothing,
            {"globalBatchSize": 6},
            r"training\.globalBatchSize: 6 is no multiple of 4 .*use 4 or 8",
            id="batch-not-divisible",
        ),
        pytest.param(
            nothing,
            {"chatTemplate": {"training": "chatml"}},
            FIELD + "'chatml' is neither student, nor r1-distill, nor a Jinja file .*start from",
            id="unknown-template",
        ),
        pytest.param(
            nothing,
            {"chatTemplate": {"training": "r1-distill"}},
            FIELD + "r1-distill: training and evaluation render different prompts, in 40 of 40 rows of branch math "
            r"\(first in row 1 of .*rows\.parquet\): evaluation uses the student's own",
            id="template-of-another-student",
        ),
        pytest.param(
            write_template(DROPS_TRACE),
            {"chatTemplate": {"training": "own.jinja"}},
            FIELD + "own.jinja: the template drops the trace, in 40 of 40 rows.*use r1-distill",
            id="trace-dropped",
        ),
        pytest.param(
            write_template(NEVER_ENDS),
            {"chatTemplate": {"training": "own.jinja"}},
            FIELD + "own.jinja: the template does not end the turn, in 40 of 40 rows.*ends generation",
            id="turn-not-ended",
        ),
        pytest.param(
            write_template(OTHER_PROMPT),
            {"chatTemplate": {"training": "own.jinja"}},
            FIELD + "own.jinja: training and evaluation render different prompts",
            id="another-prompt",
        ),
        pytest.param(
            write_template("{% for message in messages %}"),
            {"chatTemplate": {"training": "own.jinja"}},
            FIELD + "own.jinja: the chat template refuses the messages: .*endfor",
            id="broken-template",
        ),
        pytest.param(
            nothing,
            {"learningRate": 1.0, "maxGradNorm": 0, "maxSteps": 40, "optimizer": {"weightDecay": 100.0}},
            r"training\.learningRate: 1\.0: at step \d+ the loss is .* and the gradient's norm nan: lower it",
            id="diverged",
        ),
        pytest.param(
            nothing,
            {"replay": (0.5, ["other"])},
            r"replayed branch other: .*rows\.parquet: no curated rows",
            id="no-rows-to-replay",
        ),
    ],
)
def test_mistakes(tmp_path: Path, change: Callable[[Bench], None], settings: dict[str, Any], message: str) -> None:
    bench = Bench(tmp_path)
    change(bench)
    with pytest.raises(InputError, match=message) as caught:
        bench.train(**settings)
    assert "\n" not in str(caught.value)


def test_the_template_of_the_papers_student_is_refused_with_the_fix(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tokenizer=make_deepseek_tokenizer())
    fix = re.escape("for DeepSeek-R1's distilled models use r1-distill")
    with pytest.raises(InputError, match=f"{FIELD}student: the template drops the trace, in 40 of 40 rows.*: {fix}"):
        bench.train()
    assert bench.train("fixed", chatTemplate={"training": "r1-distill"}).exists()


def test_a_student_without_a_template_needs_one_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tokenizer=make_tokenizer(template=None))
    with pytest.raises(InputError, match=rf"{FIELD}student, but .* has no chat template: name the one"):
        bench.train()


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, model=make_model(vocab_size=90))
    with pytest.raises(InputError, match=r"the tokenizer has 103 tokens, but the model has embeddings for 90"):
        bench.train()


def test_a_row_that_the_template_refuses_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tokenizer=make_tokenizer(template=REFUSES_SYSTEM))
    bench.rows("math", [*sums(4), talk("1?", "2", system="be brief")])
    with pytest.raises(InputError, match=r"branch math: .*rows\.parquet, row 5: .*no system please"):
        bench.train()


def test_a_few_odd_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tokenizer=make_tokenizer(template=FIRST_AND_LAST))
    odd = talk("1?", "<think>a</think>b<think>c</think>d")
    bench.rows("math", [*sums(200), odd])
    result = StageResult.model_validate_json((bench.train(maxSteps=1) / "result.json").read_bytes())
    assert result.dropped == {"the template drops the trace": 1}
    assert result.figures["sequences"] == 200

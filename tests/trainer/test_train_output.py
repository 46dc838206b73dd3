"""The specialist: the student in another state, whatever its architecture, number format and number of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from branchmerge.api.stage import StageResult
from branchmerge_trainer.chat import render_prompt
from branchmerge_trainer.merge.preflight import check_alike, inspect
from templates import DEEPSEEK, make_deepseek_tokenizer
from tinymodels import FAMILIES, TEMPLATE, make_model, make_tokenizer
from training import Bench, history, losses, sums, talk, tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_specialist_is_the_student_with_other_weights(tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    bench = Bench(tmp_path, model=make_model(family), dtype=dtype, shard="20KB")
    output = bench.train()
    student, specialist = inspect("student", tmp_path / "student"), inspect("specialist", output)
    check_alike(student, [specialist])
    assert (output / "config.json").read_bytes() == (tmp_path / "student" / "config.json").read_bytes()
    before, after = tensors(tmp_path / "student"), tensors(output)
    assert {tensor.dtype for tensor in after.values()} == {dtype}
    assert all(not torch.equal(before[name], after[name]) for name in after if name.endswith("proj.weight"))
    model = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32)
    tokens = torch.arange(20)[None]
    untrained = AutoModelForCausalLM.from_pretrained(tmp_path / "student", dtype=torch.float32)
    assert not torch.allclose(model(tokens).logits, untrained(tokens).logits, atol=0.1)
    assert losses(output)[-1] < losses(output)[0] - 1


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_a_bf16_student_is_trained_in_fp32(tmp_path: Path, compute: str) -> None:
    """At a rate that bf16 weights could not follow, the curve is that of the same student stored in fp32."""
    half = Bench(tmp_path / "half", dtype=torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(half.root / "student", dtype=torch.float32)
    full = Bench(tmp_path / "full", model=model)
    settings = {"learningRate": 1e-5, "maxSteps": 8, "precision": {"compute": compute}}
    curves = [losses(bench.train(**settings)) for bench in (half, full)]
    assert curves[0] == curves[1]
    moved = [
        (tensors(bench.root / "student")[name] - tensor).abs().max()
        for bench in (half, full)
        for name, tensor in tensors(bench.output()).items()
        if name == "model.layers.0.mlp.up_proj.weight"
    ]
    assert 0 < moved[1] < 2e-4, "the update is smaller than the distance of bf16 numbers"


def test_config_json_says_the_number_format_that_the_files_have(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = tmp_path / "student" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dtype": "bfloat16"}))
    output = bench.train(maxSteps=1)
    assert json.loads((output / "config.json").read_text())["dtype"] == "float32"
    with safe_open(output / "model.safetensors", framework="pt") as weights:
        assert weights.get_tensor("model.norm.weight").dtype == torch.float32


@pytest.mark.parametrize(
    ("own", "trained_with"),
    [
        pytest.param(TEMPLATE, "student", id="the-students-own"),
        pytest.param(DEEPSEEK, "r1-distill", id="a-shipped-one-for-training-only"),
        pytest.param(None, "r1-distill", id="the-trained-one-where-the-student-has-none"),
        pytest.param(TEMPLATE, "again.jinja", id="a-file"),
    ],
)
def test_the_specialist_is_asked_by_the_prompts_that_it_was_trained_on(
    tmp_path: Path, own: str | None, trained_with: str
) -> None:
    tokenizer = make_tokenizer(template=own) if own == TEMPLATE else make_deepseek_tokenizer(own)
    bench = Bench(tmp_path, tokenizer=tokenizer)
    (tmp_path / "again.jinja").write_text(TEMPLATE)
    output = bench.train(chatTemplate={"training": trained_with})
    saved = AutoTokenizer.from_pretrained(output)
    if own is not None:
        assert saved.chat_template == own
    prompt = render_prompt(saved, talk("1+1="))
    assert prompt.startswith(render_prompt(tokenizer, talk("1+1=")) if own else "<｜begin")
    assert prompt.endswith("<|assistant|>" if own == TEMPLATE else "<｜Assistant｜><think>\n")


def test_result_and_history_tell_what_happened(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    rows = [*sums(20), talk("?" * 100, "<think>long</think>1"), talk("hello"), talk("a", "b" * 50)]
    bench.rows("math", rows)
    output = bench.train(epochs=2, globalBatchSize=4)
    result = StageResult.model_validate_json((output / "result.json").read_bytes())
    assert result.dropped == {"longer than sequenceLength": 1, "no turn of the assistant after one of the user": 1}
    steps = 11  # 21 sequences, twice, by 4
    assert result.figures["rows"] == 23
    assert result.figures["sequences"] == 21
    assert result.figures["steps"] == steps
    records = history(output)
    assert [record["step"] for record in records] == list(range(1, steps + 1))
    assert result.figures["tokens"] == sum(record["tokens"] for record in records)
    assert records[0].keys() == {"step", "loss", "learning_rate", "grad_norm", "tokens"}
    assert not (tmp_path / f"{bench.config().work}").exists()


def test_truncated_rows_are_learned_as_far_as_they_reach_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.rows("math", [*sums(20), talk("a", "b" * 100), talk("?" * 100, "<think>long</think>1")])
    result_of = bench.train(overlong="Truncate")
    result = StageResult.model_validate_json((result_of / "result.json").read_bytes())
    assert result.figures["truncated"] == 2
    assert result.figures["sequences"] == 21
    assert result.dropped == {"no token to learn": 1}


def test_equal_orders_give_equal_bytes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    digests = {
        StageResult.model_validate_json((bench.train(name) / "result.json").read_bytes()).digest
        for name in ("one", "two")
    }
    assert len(digests) == 1
    other = StageResult.model_validate_json((bench.train("other", seed=43) / "result.json").read_bytes())
    assert other.digest not in digests


def test_replayed_rows_are_learned_too(tmp_path: Path) -> None:
    """A branch that says nothing of B forgets it less where B is replayed."""
    bench = Bench(tmp_path)
    bench.rows("other", [talk(f"say {letter}", f"{letter}!" * 5) for letter in "abcdefgh"])
    settings: dict[str, Any] = {"maxSteps": 30}
    plain = bench.train("plain", **settings)
    mixed = bench.train("mixed", replay=(0.25, ["other"]), **settings)
    assert loss_on(mixed, "say c", "c!" * 5) < loss_on(plain, "say c", "c!" * 5) - 1


def loss_on(folder: Path, question: str, answer: str) -> float:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokens = tokenizer.apply_chat_template(talk(question, answer), return_tensors="pt", return_dict=False)
    labels = tokens.clone()
    prompt = tokenizer(render_prompt(tokenizer, talk(question)), add_special_tokens=False)["input_ids"]
    labels[:, : len(prompt)] = -100
    loss: float = model(tokens, labels=labels).loss.item()
    return loss

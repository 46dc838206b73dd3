"""What a merge leaves: number formats, files, the student's tokenizer, and the share of elements that it changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from branchmerge.api.stage import ExitCode, Outcome
from branchmerge_trainer.workspace import digest
from merging import SPECIALISTS, config, make_family, merge, task, tensors
from tinymodels import FAMILIES, make_tokenizer


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("dtype", "out_dtype"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_the_output_is_stored_as_asked_whatever_the_inputs_are(
    tmp_path: Path, name: str, stored: torch.dtype, dtype: str, out_dtype: str
) -> None:
    inputs = make_family(tmp_path / "in", name, stored)
    assert len(list((inputs / "math").glob("*.safetensors"))) > 1, "several shards"
    merge(inputs, tmp_path / "out", task("arcee_fusion", dtype, out_dtype))
    expected = getattr(torch, out_dtype)
    model, notes = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto", output_loading_info=True)
    assert not any(notes.values()), notes
    assert {tensor.dtype for tensor in tensors(tmp_path / "out").values()} == {expected}
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == out_dtype
    assert model.dtype is expected
    assert model.config.tie_word_embeddings is FAMILIES[name][2]["tie_word_embeddings"]
    assert all(file.stat().st_size < 60_000 for file in (tmp_path / "out").glob("*.safetensors"))


def test_the_changed_share_counts_elements_that_differ_from_the_base(tmp_path: Path) -> None:
    inputs = make_family(tmp_path / "in")
    weights = tensors(inputs / "student")
    name = "model.layers.0.mlp.up_proj.weight"
    changed = weights | {name: weights[name].clone()}
    changed[name].view(-1)[:100] += 1.0
    for file in (inputs / "math").glob("model*"):
        file.unlink()
    save_file(changed, inputs / "math" / "model.safetensors", metadata={"format": "pt"})
    findings = merge(inputs, tmp_path / "out", task("task_arithmetic", models=["math"], base="student"))
    rows = [json.loads(line) for line in (tmp_path / "out/tensors.jsonl").read_text().splitlines()]
    shares = {row["tensor"]: row["changed"] for row in rows}
    assert shares.pop(name) == pytest.approx(100 / weights[name].numel())
    assert set(shares.values()) == {0.0}
    elements = sum(tensor.numel() for tensor in weights.values())
    assert findings.figures == {"tensors": len(rows), "elements": elements, "density": pytest.approx(100 / elements)}


def test_rounding_of_the_base_to_the_merges_own_arithmetic_is_no_change(tmp_path: Path, family: Path) -> None:
    findings = merge(family, tmp_path / "out", task("linear", "bfloat16", "float32", models=["math"]))
    assert findings.figures["density"] == 0


def test_tokenizer_template_and_generation_settings_are_the_students_own_files(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("linear"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (family / "student" / name).read_bytes()
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()
    assert tokenizer.chat_template == make_tokenizer().chat_template


def test_a_merge_as_a_process_is_equal_bit_by_bit_whatever_python_hashes(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "here", task("dare_ties"))
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in ("student", *SPECIALISTS):
        (workspace / name).symlink_to(family / name)
    environment = {
        "BRANCHMERGE_STAGE": config(task("dare_ties")).to_json(),
        "BRANCHMERGE_WORKSPACE": str(workspace),
        "BRANCHMERGE_TERMINATION_LOG": str(workspace / "outcome.json"),
        "PYTHONHASHSEED": "1",
    }
    command = [sys.executable, "-m", "branchmerge_trainer"]
    assert subprocess.run(command, env=os.environ | environment, check=False).returncode == ExitCode.DONE
    outcome = Outcome.model_validate_json((workspace / "outcome.json").read_bytes())
    assert outcome.result is not None
    assert outcome.result.digest == digest(tmp_path / "here")

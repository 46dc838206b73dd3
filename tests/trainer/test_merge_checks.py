"""What is refused before a merge: incomplete models, models of another kind, steps that mergekit cannot do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from branchmerge.api.errors import InputError
from branchmerge.api.merge import MergeStep
from branchmerge.api.stage import MergeTask, ModelRef
from branchmerge_trainer.merge.preflight import check_space
from branchmerge_trainer.merge.recipe import configuration
from branchmerge_trainer.models import model_folder
from branchmerge_trainer.weights import read_weights
from branchmerge_trainer.workspace import Workspace
from merging import make_family, merge, task
from tinymodels import SPECIAL, TEMPLATE, make_model, make_tokenizer, save

Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def family(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "family"))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def forget_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path)


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def replace(model: Any = None, **tokenizer: Any) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        save(folder, model or make_model(), tokenizer=make_tokenizer(**tokenizer))

    return damage


def configure(**settings: Any) -> Damage:
    return lambda folder: rewrite(folder / "config.json", lambda config: config.update(settings))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(shutil.rmtree, "no such folder: give a folder", id="no folder"),
        pytest.param(remove("config.json"), "no config.json", id="no configuration"),
        pytest.param(configure(model_type="qwen9"), "config.json: cannot be read", id="an unknown kind of model"),
        pytest.param(
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            "the tokenizer cannot be read",
            id="no tokenizer in it",
        ),
        pytest.param(remove("tokenizer.json"), "no tokenizer (tokenizer.json, ", id="no tokenizer"),
        pytest.param(
            lambda folder: [path.unlink() for path in folder.glob("model*")],
            "no model.safetensors and no model.safetensors.index.json: save",
            id="no weights",
        ),
        pytest.param(lambda folder: shards(folder)[1].unlink(), "missing, though", id="a shard is missing"),
        pytest.param(lambda folder: cut_off(shards(folder)[0]), "damaged or cut off", id="a shard is cut off"),
        pytest.param(
            lambda folder: forget_a_tensor(shards(folder)[0]),
            "is in model.safetensors.index.json, but not in the file",
            id="a tensor is missing",
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
            "is no index of safetensors files",
            id="an index that is none",
        ),
        pytest.param(replace(make_model("llama")), "ties its embeddings", id="tied and untied"),
        pytest.param(
            replace(make_model("llama", tie_word_embeddings=True)),
            "architectures in config.json is ['LlamaForCausalLM'], but ['Qwen2ForCausalLM'] in student",
            id="another architecture",
        ),
        pytest.param(
            replace(make_model(hidden_size=64)),
            "hidden_size in config.json is 64, but 32 in student",
            id="another size",
        ),
        pytest.param(
            replace(make_model(vocab_size=110)),
            "vocab_size in config.json is 110, but 103",
            id="another vocabulary size",
        ),
        pytest.param(
            configure(rope_parameters={"rope_theta": 5.0, "rope_type": "default"}),
            "rope_parameters in config.json",
            id="other positions",
        ),
        pytest.param(
            replace(special=(*SPECIAL[:-2], SPECIAL[-1], SPECIAL[-2])),
            "another vocabulary (token '</think>'",
            id="swapped",
        ),
        pytest.param(
            replace(special=(*SPECIAL, "<|tool|>")),
            "another vocabulary (104 tokens instead of 103)",
            id="one more token",
        ),
        pytest.param(
            replace(eos="<|system|>"), "another eos_token ('<|system|>' instead of '<|end|>')", id="another eos"
        ),
        pytest.param(replace(template=TEMPLATE + " "), "another chat template than student's", id="another template"),
        pytest.param(replace(template=None), "another chat template than student's", id="no template"),
    ],
)
def test_a_model_that_does_not_fit_is_named_with_its_folder_and_the_fix(
    family: Path, tmp_path: Path, damage: Damage, message: str
) -> None:
    damage(family / "math")
    with pytest.raises(InputError) as caught:
        merge(family, tmp_path / "out", task("linear"))
    assert str(caught.value).startswith(f"specialist/math: {family / 'math'}")
    assert message in str(caught.value)
    assert not list((tmp_path / "out").iterdir()), "nothing was merged"


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(
            configure(use_cache=False, transformers_version="4.0.0", pad_token_id=7), id="what trainers rewrite"
        ),
        pytest.param(
            lambda folder: rewrite(
                folder / "tokenizer.json",
                lambda tokenizer: tokenizer.update(
                    truncation={"max_length": 9, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
                ),
            ),
            id="a tokenizer that was saved while it truncated",
        ),
        pytest.param(
            lambda folder: AutoTokenizer.from_pretrained(folder).save_pretrained(folder),
            id="a tokenizer that was saved again",
        ),
    ],
)
def test_what_trainers_rewrite_does_not_matter(family: Path, tmp_path: Path, harmless: Damage) -> None:
    harmless(family / "math")
    assert merge(family, tmp_path / "out", task("linear")).figures["tensors"] > 0


def test_a_head_that_is_stored_though_it_is_tied_does_not_matter(family: Path, tmp_path: Path) -> None:
    index = json.loads((family / "student/model.safetensors.index.json").read_text())
    file = family / "student" / index["weight_map"]["model.embed_tokens.weight"]
    tensors = load_file(file)
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, file, {"format": "pt"})
    merge(family, tmp_path / "out", task("task_arithmetic"))


def test_a_merge_that_yields_no_numbers_is_refused(family: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"merged tensor .* infinite or undefined values.*change weights"):
        merge(family, tmp_path / "out", task("linear", models=["math", "coding"], weights=[1, -1]))


def test_a_disk_that_is_too_small_is_found_before(intact: Path) -> None:
    weights = read_weights(intact / "student", "student")
    check_space(weights, 4, intact)
    with pytest.raises(InputError, match=r"bytes are free, but the merged model needs [\d,]+: free some"):
        check_space(weights, 10**15, intact)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("memory://nowhere/model", "no files of a model"),
        ("odd://bucket/model", "Protocol not known: odd.*: choose another store"),
        ("./models/nowhere", "no such folder"),
        ("models/student/nowhere", "neither a folder nor a model of the Hub"),
    ],
)
def test_a_model_that_is_nowhere_is_named(tmp_path: Path, location: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"student: {location}: {message}"):
        model_folder(ModelRef(name="student", model=location), Workspace(tmp_path, tmp_path))


def unchecked(**fields: Any) -> MergeTask:
    """A task whose step has passed no check, as if an operator of another version had sent it."""
    step = {"name": "final", "models": ["math", "coding"], "base": "student", "weights": None, "parameters": {}}
    merge_step = MergeStep.model_construct(**(step | fields))
    return MergeTask.model_construct(step=merge_step, dtype="float32", out_dtype="float32")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        pytest.param(
            {"method": "ties", "parameters": {"densty": 0.5}},
            "parameters.densty: method ties takes density, int8_mask, lambda, normalize, rescale: correct or remove it",
            id="an unknown parameter",
        ),
        pytest.param(
            {"method": "slerp", "models": ["math"]},
            "parameters: method slerp needs t: add it",
            id="a missing parameter",
        ),
        pytest.param({"method": "model_stock", "models": ["math"]}, "at least 3 inputs", id="too few models"),
        pytest.param({"method": "arcee_fusion"}, "exactly 2 inputs", id="too many models"),
        pytest.param({"method": "ties", "models": ["math", "math"]}, "Duplicate merge inputs", id="a model twice"),
    ],
)
def test_a_step_that_mergekit_cannot_do_is_named(step: dict[str, Any], message: str) -> None:
    merge_task = unchecked(**step)
    with pytest.raises(InputError, match=r"^merge step final: ") as caught:
        configuration(merge_task, {name: Path(name) for name in ("math", "coding", "student")})
    assert message in str(caught.value)


def test_paths_with_marks_that_mergekit_reads_as_revision_or_adapter_are_paths(tmp_path: Path) -> None:
    """mergekit parses `path@revision` and `path+adapter`."""
    odd = make_family(tmp_path / "a@b+c")
    assert merge(odd, tmp_path / "out", task("arcee_fusion")).figures["tensors"] > 0

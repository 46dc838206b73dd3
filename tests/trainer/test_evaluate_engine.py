"""Generation: seeds, ends of turns, markers of a trace; against transformers' own generation where that can tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, TopPLogitsWarper

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import Generation
from branchmerge_trainer.evaluate.engine import Completion, TransformersEngine
from branchmerge_trainer.evaluate.sampling import draw, seed_of
from tinymodels import END, END_THINK, FAMILIES, SPECIAL, THINK, make_model, make_tokenizer, save, teach

ANSWERS: Mapping[str, str] = {
    letter: f"{THINK}{letter}{letter}{END_THINK}{ord(letter)}" for letter in "abcdefghijklmnop"
}
WARM = Generation(temperature=1.5, top_p=0.95)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("taught"), teach(make_model(), make_tokenizer(), ANSWERS))


@pytest.fixture(scope="module")
def engine(taught: Path) -> TransformersEngine:
    return TransformersEngine(taught)


def prompts(engine: TransformersEngine, *texts: str) -> list[str]:
    return [engine.prompt([{"role": "user", "content": text}]) for text in texts]


def complete(
    engine: TransformersEngine,
    asked: list[str],
    seeds: list[int] | None = None,
    generation: Generation | None = None,
    max_tokens: int = 20,
) -> list[Completion]:
    return engine.complete(asked, seeds or [0] * len(asked), generation or Generation(), max_tokens, lambda _: None)


def test_a_batch_answers_with_its_trace_though_its_markers_are_special_tokens(engine: TransformersEngine) -> None:
    completions = complete(engine, prompts(engine, *ANSWERS))
    assert [completion.text for completion in completions] == list(ANSWERS.values())
    assert not any(completion.truncated for completion in completions)
    assert completions[0].tokens == len("aa97") + 3, "two markers and the end of the turn"


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_transformers_one_by_one(tmp_path: Path, family: str) -> None:
    """On prompts of different lengths, so that most rows of the batch are padded."""
    engine = TransformersEngine(save(tmp_path, make_model(family), shard="20KB"))
    asked = prompts(engine, "a", "unheard of", "12+30=", "b" * 40)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    alone = []
    for prompt in asked:
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=20)[0, inputs["input_ids"].shape[1] :]
        alone.append(tokenizer.decode(ids).removesuffix(END))
    assert [completion.text for completion in complete(engine, asked)] == alone


def test_a_sample_depends_on_its_seed_alone(engine: TransformersEngine) -> None:
    asked = prompts(engine, "x", "yy", "zzz")
    together = complete(engine, asked, [1, 2, 3], WARM)
    assert complete(engine, asked, [1, 2, 3], WARM) == together
    assert [
        complete(engine, [prompt], [seed], WARM)[0] for prompt, seed in zip(asked, [1, 2, 3], strict=True)
    ] == together
    assert complete(engine, asked, [4, 5, 6], WARM) != together


def test_what_the_limit_of_tokens_cuts_off_says_so(engine: TransformersEngine) -> None:
    (completion,) = complete(engine, prompts(engine, "a"), max_tokens=3)
    assert completion == Completion(f"{THINK}aa", 3, truncated=True)


def test_every_token_is_reported_while_it_is_generated(engine: TransformersEngine) -> None:
    reported: list[int] = []
    completions = engine.complete(prompts(engine, *ANSWERS), [0] * len(ANSWERS), Generation(), 20, reported.append)
    assert sum(reported) == sum(completion.tokens for completion in completions)


def test_generation_settings_of_the_model_itself_do_not_count(taught: Path, tmp_path: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(taught)
    make_tokenizer().save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, max_new_tokens=1, eos_token_id=1
    ).save_pretrained(tmp_path)
    other = TransformersEngine(tmp_path)
    assert complete(other, prompts(other, "a"))[0].text == ANSWERS["a"]


def test_the_chat_templates_end_of_turn_ends_an_answer_though_eos_is_another_token(
    taught: Path, tmp_path: Path
) -> None:
    """As in Qwen's base models: eos is `<|endoftext|>`, a turn ends with `<|im_end|>`."""
    model: Any = AutoModelForCausalLM.from_pretrained(taught)
    model.config.eos_token_id = None
    model.generation_config = GenerationConfig()
    model.save_pretrained(tmp_path)
    make_tokenizer(eos="<|system|>").save_pretrained(tmp_path)
    other = TransformersEngine(tmp_path)
    assert complete(other, prompts(other, "a"))[0] == Completion(ANSWERS["a"], 7, truncated=False)


def test_a_model_without_chat_template_is_refused(tmp_path: Path) -> None:
    save(tmp_path, make_model(), tokenizer=make_tokenizer(template=None))
    with pytest.raises(InputError, match=r"no chat template: add chat_template\.jinja"):
        prompts(TransformersEngine(tmp_path), "a")


def test_a_model_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    """transformers would make them up at random."""
    tensors = load_file(save(tmp_path, make_model()) / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 tensors are missing, such as 'model\.norm\.weight'"):
        TransformersEngine(tmp_path)


def test_a_model_is_run_in_the_number_format_that_it_is_stored_in(tmp_path: Path) -> None:
    half = TransformersEngine(save(tmp_path, make_model("llama"), dtype=torch.bfloat16))
    assert half._model.dtype is torch.bfloat16
    assert all(completion.tokens for completion in complete(half, prompts(half, "a", "bcd"), [1, 2], WARM))


def logits() -> torch.Tensor:
    return torch.randn(len(SPECIAL), generator=torch.Generator().manual_seed(3)) * 2


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.01, 0.0])
def test_tokens_are_drawn_from_the_nucleus_in_proportion(top_p: float) -> None:
    """Evenly spread uniform numbers must hit each token as often as its probability says, to one draw."""
    draws = 2000
    uniform = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    tokens = draw(logits().expand(draws, -1), uniform, top_p)
    warped = TopPLogitsWarper(top_p)(torch.zeros(1, 1), logits()[None]) if 0 < top_p < 1 else logits()[None]
    expected = warped.softmax(-1)[0] if top_p > 0 else torch.nn.functional.one_hot(logits().argmax(), len(SPECIAL))
    counts = torch.bincount(tokens, minlength=len(SPECIAL))
    torch.testing.assert_close(counts / draws, expected.float(), atol=1 / draws, rtol=0)


def test_the_last_uniform_number_below_one_stays_within_the_nucleus() -> None:
    uniform = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert draw(torch.tensor([[0.0, 1.0, -1.0]]), uniform, 0.5).tolist() == [1]


def test_seeds_are_those_that_they_have_always_been_and_none_is_shared() -> None:
    assert seed_of(42, "aime24", "1", 0) == 2884195609
    seeds = {
        seed_of(base, suite, question, sample)
        for base in (1, 2)
        for suite in ("a", "b")
        for question in ("1", "11")
        for sample in (1, 11)
    }
    assert len(seeds) == 16

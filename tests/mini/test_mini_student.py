"""The miniature's tokenizer and chat template, and how its student is trained, on a handful of rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import jinja2
import pytest
import torch
from miniature import student as making
from miniature.domains import Domain, make_domains
from transformers import AutoModelForCausalLM, AutoTokenizer

from branchmerge_trainer.chat import render_prompt

SEED = 6
NAMES = ["math", "coding", "science"]


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    """Sixteen problems each, the same in every part: to be learned by heart."""
    few = {name: domain.train[:16] for name, domain in make_domains(SEED).items()}
    return {name: Domain(train=problems, probe=problems, suite=problems) for name, problems in few.items()}


@pytest.fixture(scope="module")
def student(domains: dict[str, Domain]) -> making.Student:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "FLOOR", 0.7)
        patch.setattr(making, "CEILING", 0.9)
        patch.setattr(making, "BATCH_ROWS", 24)
        patch.setattr(making, "MAX_STEPS", 600)
        return making.make_student(domains, SEED, lambda step, loss, scores: None)


@pytest.fixture(scope="module")
def folder(student: making.Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mini") / "student"
    student.save(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    """As every stage loads it, which knows that the model is a Qwen2."""
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", NAMES)
def test_template_keeps_the_trace_and_marks_it_with_its_end_of_turn(
    tokenizer: Any, domains: dict[str, Domain], name: str
) -> None:
    for problem in domains[name].train:
        encoded = tokenizer.apply_chat_template(
            [problem.question, problem.solution], return_dict=True, return_assistant_tokens_mask=True
        )
        learned = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
        assert tokenizer.decode(learned) == f"<think>{problem.trace}</think>{problem.answer}<|end|>"
        assert learned[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_learned_is_the_prompt_of_evaluation(tokenizer: Any, domains: dict[str, Domain], name: str) -> None:
    for problem in domains[name].train:
        encoded = tokenizer.apply_chat_template(
            [problem.question, problem.solution], return_dict=True, return_assistant_tokens_mask=True
        )
        prompt = tokenizer(render_prompt(tokenizer, [problem.question]), add_special_tokens=False)["input_ids"]
        assert encoded["input_ids"][: len(prompt)] == prompt
        assert encoded["assistant_masks"] == [0] * len(prompt) + [1] * (len(encoded["input_ids"]) - len(prompt))


@pytest.mark.parametrize("name", NAMES)
def test_every_character_is_a_token_that_reads_back(tokenizer: Any, domains: dict[str, Domain], name: str) -> None:
    for problem in domains[name].train:
        content = problem.solution["content"]
        ids = tokenizer(problem.prompt + content, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) == len(problem.prompt) + len(problem.trace) + len(problem.answer) + 2
        assert tokenizer.decode(ids, skip_special_tokens=True) == problem.prompt + content


def test_every_turn_of_the_assistant_is_learned(tokenizer: Any, domains: dict[str, Domain]) -> None:
    first, second = domains["math"].train[:2]
    encoded = tokenizer.apply_chat_template(
        [first.question, first.solution, second.question, second.solution],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    learned = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(learned) == f"{first.solution['content']}<|end|>{second.solution['content']}<|end|>"


def test_a_role_that_the_student_does_not_know_is_refused(tokenizer: Any) -> None:
    with pytest.raises(jinja2.TemplateError, match="role system"):
        tokenizer.apply_chat_template([{"role": "system", "content": "be brief"}], tokenize=False)


def test_training_ends_as_soon_as_every_domain_is_at_the_floor(student: making.Student) -> None:
    assert all(score >= 0.7 for score in student.scores.values()), student.scores
    assert student.steps < 600
    assert student.steps % making.PROBE_STEPS == 0


def test_the_score_of_one_forward_pass_is_that_of_generation(
    student: making.Student, folder: Path, tokenizer: Any, domains: dict[str, Domain]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype is torch.float32
    assert model.config.use_cache
    assert 7e5 < model.num_parameters() < 9e5
    for name, domain in domains.items():
        right = 0
        for problem in domain.suite:
            prompt = tokenizer(
                render_prompt(tokenizer, [problem.question]), add_special_tokens=False, return_tensors="pt"
            )
            output = model.generate(**prompt, max_new_tokens=40)[0, prompt["input_ids"].shape[1] :]
            right += tokenizer.decode(output) == f"{problem.solution['content']}<|end|>"
        assert right / len(domain.suite) == student.scores[name]


def test_the_same_seed_makes_the_same_student(domains: dict[str, Domain], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "MAX_STEPS", 3)
    reports: list[list[tuple[int, float]]] = [[], []]
    first, second = (
        making.make_student(domains, SEED, lambda step, loss, scores, seen=seen: seen.append((step, loss)))  # type: ignore[misc]
        for seen in reports
    )
    assert reports[0] == reports[1]
    assert [step for step, _ in reports[0]] == [1, 2, 3]
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_lags_has_most_rows_and_nothing_is_forgotten(
    domains: dict[str, Domain], student: making.Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "BATCH_ROWS", 4_000)
    lessons = {name: making.tokenize(student.tokenizer, domain.train) for name, domain in domains.items()}
    batch = making._draw(lessons, {"math": 0.5, "coding": 0.4, "science": 0.1}, random.Random(1))
    shares = [sum(row in lessons[name] for row in batch) / 4_000 for name in NAMES]
    assert shares == pytest.approx([0.025 / 0.575, 0.125 / 0.575, 0.425 / 0.575], abs=0.03)

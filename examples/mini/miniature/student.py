"""The student: a small Qwen2, trained from scratch until it is weak but alive in every domain.

Two devices let it land there, whatever the seed:

- *Each batch favours what lags.* A domain's share of a batch is its distance to a ceiling, so that none runs ahead.
- *What is measured is what is delivered.* Training runs at a high, constant learning rate, and its weights are noisy.
  The student is their exponential moving average: it is the average that is probed, and training ends with the probe
  that finds it above the floor everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from miniature.domains import Domain, Problem
from miniature.tokenizer import MAX_TOKENS, make_tokenizer

FLOOR, CEILING = 0.35, 0.5
"""Training ends once every domain is at the floor; one at the ceiling is hardly fed."""
LEAST_SHARE = 0.025
"""Added to each domain's distance to the ceiling, so that none is forgotten."""

MAX_STEPS = 1_500
WARMUP_STEPS = 30
BATCH_ROWS = 64
LEARNING_RATE = 3e-3
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
AVERAGE_DECAY = 0.97
INITIAL_SPREAD = 0.06
"""Standard deviation of the first weights. Qwen2's own 0.02 suits wider layers; here it takes twice the steps."""

PROBE_STEPS = 10
PROBE_ROWS = 64
SCORING_ROWS = 100
"""Rows in one forward pass of a probe."""

THREADS = 2
"""More do not help a model of this size."""

IGNORED = -100
"""Label of a token that is not learned."""

Report = Callable[[int, float, Mapping[str, float]], None]
"""Called after every step with its number, its loss, and the last scores of the average by domain."""


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenized conversation: `labels` are the tokens of the assistant's turn, and IGNORED elsewhere."""

    tokens: list[int]
    labels: list[int]


@dataclass(frozen=True, slots=True)
class Student:
    """A model, and how it came about."""

    model: Qwen2ForCausalLM
    tokenizer: PreTrainedTokenizerFast
    steps: int
    scores: dict[str, float]
    """Share of right answers on each suite."""

    def save(self, folder: Path) -> None:
        """Write configuration, fp32 safetensors, tokenizer and chat template to `folder`."""
        disable_progress_bar()
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def make_student(domains: Mapping[str, Domain], seed: int, report: Report) -> Student:
    """Train a student on the mixture of the domains' `train` parts."""
    torch.manual_seed(seed)
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    tokenizer = make_tokenizer()
    lessons = {name: tokenize(tokenizer, domain.train) for name, domain in domains.items()}
    probes = {name: tokenize(tokenizer, domain.probe[:PROBE_ROWS]) for name, domain in domains.items()}
    model, steps = _train(_new_model(tokenizer), lessons, probes, random.Random(seed), report)
    scores = {name: accuracy(model, tokenize(tokenizer, domain.suite)) for name, domain in domains.items()}
    return Student(model, tokenizer, steps, scores)


def tokenize(tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem]) -> list[Row]:
    """The problems as conversations in the tokenizer's chat template."""
    batch: Any = tokenizer.apply_chat_template(
        [[problem.question, problem.solution] for problem in problems],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return [
        Row(tokens, [token if learned else IGNORED for token, learned in zip(tokens, mask, strict=True)])
        for tokens, mask in zip(batch["input_ids"], batch["assistant_masks"], strict=True)
    ]


@torch.inference_mode()
def accuracy(model: Qwen2ForCausalLM, rows: Sequence[Row]) -> float:
    """Share of rows whose completion greedy decoding would write, token for token.

    It would where each token of the completion is the likeliest after those before it, so one forward pass tells.
    """
    right = 0
    for start in range(0, len(rows), SCORING_ROWS):
        tokens, labels = _collate(rows[start : start + SCORING_ROWS])
        likeliest = model(input_ids=tokens, use_cache=False).logits[:, :-1].argmax(-1)
        expected = labels[:, 1:]
        right += int(((likeliest == expected) | (expected == IGNORED)).all(dim=1).sum())
    return right / len(rows)


def _new_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """0.8 M parameters, drawn at random."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        initializer_range=INITIAL_SPREAD,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def _train(
    model: Qwen2ForCausalLM,
    lessons: Mapping[str, Sequence[Row]],
    probes: Mapping[str, Sequence[Row]],
    rng: random.Random,
    report: Report,
) -> tuple[Qwen2ForCausalLM, int]:
    """The average of the weights once it reaches the floor in every domain, and the steps that this took."""
    average = deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS))
    scores = dict.fromkeys(lessons, 0.0)
    step = 0
    while min(scores.values()) < FLOOR and step < MAX_STEPS:
        step += 1
        loss = _loss(model, _draw(lessons, scores, rng))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        warmup.step()
        _follow(average, model)
        if step % PROBE_STEPS == 0:
            scores = {name: accuracy(average, rows) for name, rows in probes.items()}
        report(step, loss.item(), scores)
    return average, step


@torch.no_grad()
def _follow(average: Qwen2ForCausalLM, model: Qwen2ForCausalLM) -> None:
    """Move the average towards the model, in place."""
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - AVERAGE_DECAY)


def _draw(lessons: Mapping[str, Sequence[Row]], scores: Mapping[str, float], rng: random.Random) -> list[Row]:
    """A batch in which the domains that lag have most rows."""
    shares = [max(CEILING - scores[name], 0.0) + LEAST_SHARE for name in lessons]
    return [rng.choice(lessons[name]) for name in rng.choices(list(lessons), shares, k=BATCH_ROWS)]


def _loss(model: Qwen2ForCausalLM, rows: Sequence[Row]) -> torch.Tensor:
    """Mean cross-entropy over the tokens that are learned."""
    tokens, labels = _collate(rows)
    logits = model(input_ids=tokens, use_cache=False).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def _collate(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and labels, each (rows, longest row), filled up on the right, where attention never looks."""
    length = max(len(row.tokens) for row in rows)
    tokens = torch.tensor([row.tokens + [0] * (length - len(row.tokens)) for row in rows])
    labels = torch.tensor([row.labels + [IGNORED] * (length - len(row.labels)) for row in rows])
    return tokens, labels

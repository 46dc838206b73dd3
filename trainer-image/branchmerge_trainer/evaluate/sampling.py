"""Draws tokens such that each answer depends on its own seed, not on what else is in its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


def seed_of(base: int, suite: str, question: str, sample: int) -> int:
    """The seed (32 bits) of one sample of one question."""
    text = f"{base}\0{suite}\0{question}\0{sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


class SeededSampling(LogitsProcessor):
    """Leaves one token of each row possible: the one that the row's own random numbers choose.

    For greedy search, which then takes it. transformers' own sampling draws all rows from one generator.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float, top_p: float, max_tokens: int) -> None:
        """`seeds`: one a row. The random numbers are drawn on the CPU, so that they are the same on every device."""
        self._temperature = temperature
        self._top_p = top_p
        self._uniform = torch.stack([_uniform(seed, max_tokens) for seed in seeds])
        self._step = 0

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`: logits of the next token, [rows, vocabulary]."""
        uniform = self._uniform[:, self._step].to(scores.device)
        self._step += 1
        tokens = draw(scores / self._temperature, uniform, self._top_p)
        return torch.full_like(scores, float("-inf")).scatter(1, tokens[:, None], 0.0)


def draw(logits: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """One token of each row, by inversion of the nucleus' cumulative distribution.

    `logits`: [rows, vocabulary]; `uniform`: [rows], in [0, 1). The nucleus is the fewest likeliest tokens whose mass
    reaches `top_p` (Holtzman et al., arXiv 1904.09751). Returns token numbers, [rows].
    """
    probabilities, tokens = logits.float().softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    mass = probabilities.double().cumsum(dim=-1)
    outside = mass - probabilities >= top_p
    outside[:, 0] = False
    nucleus = mass.masked_fill(outside, 0.0).amax(dim=-1)
    chosen = (mass <= (uniform * nucleus)[:, None]).sum(dim=-1)
    return tokens.gather(1, chosen[:, None])[:, 0]


def _uniform(seed: int, count: int) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

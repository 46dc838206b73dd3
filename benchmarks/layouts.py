"""How fast a step is by the layout of its packs, on this machine's attention kernel.

    python benchmarks/layouts.py [--sequence-length N]

A pack is computed as it is (one row, masked attention) or taken apart (a row a sequence, padded). Taken apart is what
`train.layout` chooses for masked attention where that is cheaper. CPU time, because
other work on the machine must not count.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from branchmerge_trainer.train.engine import loss_of
from branchmerge_trainer.train.layout import Layout, Piece, Tensors, in_rows
from branchmerge_trainer.train.packing import best_fit_decreasing

SEQUENCES = 64
VOCABULARY = 90
HIDDEN = 128
STEPS = 5
LENGTHS = {"similar": (22, 34), "mixed": (10, 200)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence-length", type=int, default=512, help="tokens of a pack; default 512")
    capacity = parser.parse_args().sequence_length
    model = make_model(capacity)
    for name, (shortest, longest) in LENGTHS.items():
        pieces = make_pieces(shortest, min(longest, capacity))
        lengths = [len(piece.tokens) for piece in pieces]
        packs = [[pieces[index] for index in pack] for pack in best_fit_decreasing(lengths, capacity)]
        for layout, tensors in {
            "as packed": in_rows(packs),
            "taken apart": in_rows([[piece] for piece in pieces]),
            "as chosen": Layout(varlen=False, hidden=HIDDEN).lay_out(packs),
        }.items():
            seconds = seconds_a_step(model, tensors)
            print(f"{name:8} {layout:12} {1000 * seconds:8.1f} ms a step {sum(lengths) / seconds:10,.0f} tokens/s")


def seconds_a_step(model: Qwen2ForCausalLM, tensors: Tensors) -> float:
    """CPU seconds of one forward and backward pass."""
    for step in range(STEPS + 1):
        if step == 1:  # the first one warms up
            start = time.process_time()
        loss_of(model, tensors, 1000, torch.device("cpu")).backward()
    return (time.process_time() - start) / STEPS


def make_pieces(shortest: int, longest: int) -> list[Piece]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(shortest, longest, SEQUENCES, endpoint=True)
    return [
        Piece(rng.integers(0, VOCABULARY, length, dtype=np.int32), np.arange(length) > length // 2)
        for length in lengths
    ]


def make_model(positions: int) -> Qwen2ForCausalLM:
    """The architecture of the miniature's student."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=positions,
        )
    )


if __name__ == "__main__":
    main()

"""How the sequences of a forward pass are laid out in rows. No sequence sees another, however it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

IGNORED = -100
"""Label of a token that is not learned, by PyTorch's convention."""
_PADDING = 0
"""Token on filled-up places. Nothing before it sees it, and it is never learned."""
_LINEAR_WIDTH = 8
"""Times the hidden size: width of a row at which masked attention costs as much as all else of a layer."""
_MOST_PLACES = 2.0
"""Taking packs apart may at most double the places, and so the memory."""

Tensors = Mapping[str, torch.Tensor]
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """One sequence to learn."""

    tokens: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]

    @property
    def labels(self) -> Array:
        """The token itself where it is learned, else IGNORED. The model shifts them."""
        return np.where(self.trained, self.tokens, IGNORED)


Rows = Sequence[Sequence[Piece]]


@dataclass(frozen=True)
class Layout:
    """The way that suits an attention kernel and a model."""

    varlen: bool
    """The kernel takes the borders of sequences (FlashAttention); else a mask of rows x width x width."""
    hidden: int
    """Hidden size of the model."""

    def lay_out(self, packs: Rows) -> Tensors:
        """The model's arguments for one forward pass over these packs.

        Where the kernel takes borders, everything goes into one row, without padding. Where it takes a mask, long rows
        are dear: a pack is taken apart, a row a sequence, if that is cheaper (`benchmarks/layouts.py`).
        """
        if self.varlen:
            return in_rows([[piece for pack in packs for piece in pack]])
        alone = [[piece] for pack in packs for piece in pack]
        fits = _places(alone) <= _MOST_PLACES * _places(packs)
        return in_rows(alone if fits and self._cost(alone) < self._cost(packs) else packs)

    def _cost(self, rows: Rows) -> int:
        """Arithmetic of a pass, up to a factor."""
        return _places(rows) * (_LINEAR_WIDTH * self.hidden + _width(rows))


def in_rows(rows: Rows) -> Tensors:
    """`input_ids` and `labels`, (rows, longest row), filled up on the right.

    With several sequences in a row also `position_ids`: by their restarts transformers keeps the sequences apart.
    Without, causal attention needs no mask, because what is filled up comes last.
    """
    width = _width(rows)
    batch = {
        "input_ids": _filled([np.concatenate([piece.tokens for piece in row]) for row in rows], width, _PADDING),
        "labels": _filled([np.concatenate([piece.labels for piece in row]) for row in rows], width, IGNORED),
    }
    if any(len(row) > 1 for row in rows):
        batch["position_ids"] = np.stack([_positions(row, width) for row in rows])
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def _positions(row: Sequence[Piece], width: int) -> Array:
    """0, 1, 2, … for each sequence; what is filled up is a sequence of its own."""
    lengths = [len(piece.tokens) for piece in row]
    return np.concatenate([np.arange(length) for length in (*lengths, width - sum(lengths))])


def _places(rows: Rows) -> int:
    """Places that the rows take, padding included."""
    return len(rows) * _width(rows)


def _width(rows: Rows) -> int:
    return max(sum(len(piece.tokens) for piece in row) for row in rows)


def _filled(rows: Sequence[npt.NDArray[np.integer]], width: int, value: int) -> Array:
    filled = np.full((len(rows), width), value, np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled

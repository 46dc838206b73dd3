"""The sequences of a global batch -> the tensors of one rank's forward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import numpy.typing as npt
import torch

from branchmerge_trainer.train.corpus import Corpus
from branchmerge_trainer.train.mixture import Mixture
from branchmerge_trainer.train.packing import Pack
from branchmerge_trainer.train.shape import BatchShape
from branchmerge_trainer.train.stream import Stream

IGNORED = -100
"""Label of a token that is not learned, by PyTorch's convention."""
_PADDING = 0
"""Token on filled-up places. Nothing before it sees it, and it is never learned."""
_WASTE = 1.25
"""Rows may be filled up to this multiple of what packs would take."""

Tensors = Mapping[str, torch.Tensor]
Array = npt.NDArray[np.int64]


class Attention(Enum):
    """What the attention kernel does with several sequences in one row."""

    MASKED = auto()
    """It takes a mask, of rows x tokens x tokens: rows should be short."""
    VARLEN = auto()
    """It takes the borders (FlashAttention): everything goes into one row, without padding."""


@dataclass(frozen=True)
class Piece:
    """One sequence to learn."""

    tokens: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]

    @property
    def labels(self) -> Array:
        """The token itself where it is learned, else IGNORED. The model shifts them."""
        return np.where(self.trained, self.tokens, IGNORED)


@dataclass(frozen=True)
class StepBatch:
    """What one rank computes in a step, and the totals of the whole global batch."""

    passes: list[Tensors]
    trained_tokens: int
    """Learned tokens over all ranks: what the loss is divided by."""
    tokens: int
    """Tokens over all ranks, padding left out."""


class Batches:
    """The global batches of a run, each a function of its step alone."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        streams: Sequence[Stream],
        mixture: Mixture,
        shape: BatchShape,
        attention: Attention,
    ) -> None:
        self._corpora = corpora
        self._streams = streams
        self._mixture = mixture
        self._shape = shape
        self._attention = attention

    def at(self, step: int, rank: int) -> StepBatch:
        """The part of `rank` in the batch that follows `step` finished steps.

        Packs of similar length come into one forward pass, and the ranks get passes of similar length. Which rank
        computes what does not matter to the sum of the gradients.
        """
        packs = [(draw.source, self._streams[draw.source].at(draw.position)) for draw in self._mixture.draws(step)]
        packs.sort(key=lambda pack: -self._length(*pack))
        micro, ranks = self._shape.micro, self._shape.ranks
        groups = [packs[start : start + micro] for start in range(0, len(packs), micro)]
        return StepBatch(
            passes=[lay_out([self.pieces(*pack) for pack in group], self._attention) for group in groups[rank::ranks]],
            trained_tokens=sum(int(self._corpora[source].trained_counts[list(pack)].sum()) for source, pack in packs),
            tokens=sum(self._length(*pack) for pack in packs),
        )

    def _length(self, source: int, pack: Pack) -> int:
        return int(self._corpora[source].lengths[list(pack)].sum())

    def pieces(self, source: int, pack: Pack) -> list[Piece]:
        """The sequences of a pack."""
        corpus = self._corpora[source]
        return [Piece(corpus.tokens(index), corpus.trained(index)) for index in pack]


def lay_out(packs: Sequence[Sequence[Piece]], attention: Attention) -> Tensors:
    """The model's arguments for one forward pass. No sequence sees another, however they are laid out.

    Masked attention is cheaper in many short rows than in one long row: where its sequences are of similar length, a
    pack is taken apart.
    """
    if attention is Attention.VARLEN:
        return _in_rows([[piece for pack in packs for piece in pack]])
    alone = [[piece] for pack in packs for piece in pack]
    return _in_rows(alone if _area(alone) <= _WASTE * _area(packs) else packs)


def _area(rows: Sequence[Sequence[Piece]]) -> int:
    """Places that the rows take, padding included."""
    return len(rows) * max(sum(len(piece.tokens) for piece in row) for row in rows)


def _in_rows(rows: Sequence[Sequence[Piece]]) -> Tensors:
    """`input_ids` and `labels`, (rows, longest row), filled up on the right.

    With several sequences in a row also `position_ids`: by their restarts transformers keeps the sequences apart.
    Without, causal attention needs no mask, because what is filled up comes last.
    """
    width = max(sum(len(piece.tokens) for piece in row) for row in rows)
    batch = {
        "input_ids": _filled([np.concatenate([piece.tokens for piece in row]) for row in rows], width, _PADDING),
        "labels": _filled([np.concatenate([piece.labels for piece in row]) for row in rows], width, IGNORED),
    }
    if any(len(row) > 1 for row in rows):
        lengths = [[len(piece.tokens) for piece in row] for row in rows]
        counts = [[*row, width - sum(row)] for row in lengths]  # what is filled up is a sequence of its own
        batch["position_ids"] = np.stack([np.concatenate([np.arange(count) for count in row]) for row in counts])
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def _filled(rows: Sequence[npt.NDArray[np.integer]], width: int, value: int) -> Array:
    filled = np.full((len(rows), width), value, np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled

"""The global batch of a step, and the part of it that a rank computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge_trainer.train.corpus import Corpus
from branchmerge_trainer.train.layout import Layout, Piece, Tensors
from branchmerge_trainer.train.mixture import Mixture
from branchmerge_trainer.train.packing import Pack
from branchmerge_trainer.train.shape import BatchShape
from branchmerge_trainer.train.stream import Stream


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
        layout: Layout,
    ) -> None:
        self._corpora = corpora
        self._streams = streams
        self._mixture = mixture
        self._shape = shape
        self._layout = layout

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
            passes=[self._layout.lay_out([self.pieces(*pack) for pack in group]) for group in groups[rank::ranks]],
            trained_tokens=sum(int(self._corpora[source].trained_counts[list(pack)].sum()) for source, pack in packs),
            tokens=sum(self._length(*pack) for pack in packs),
        )

    def pieces(self, source: int, pack: Pack) -> list[Piece]:
        """The sequences of a pack."""
        corpus = self._corpora[source]
        return [Piece(corpus.tokens(index), corpus.trained(index)) for index in pack]

    def _length(self, source: int, pack: Pack) -> int:
        return int(self._corpora[source].lengths[list(pack)].sum())

"""The endless, seeded order in which the packs of one source are learned."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from branchmerge.api.training import PackingStrategy
from branchmerge_trainer.train.packing import Pack, best_fit_decreasing


class Stream:
    """Passes over one source, each in an order of its own. Any position is reached without those before it."""

    def __init__(
        self, lengths: npt.NDArray[np.int64], strategy: PackingStrategy, capacity: int, *, seed: int, source: int
    ) -> None:
        """`lengths`: tokens of each sequence. `source`: the source's number, so that no two have the same order."""
        self._lengths = lengths
        self._strategy = strategy
        self._capacity = capacity
        self._seed = (seed, source)
        self._packs_of = lru_cache(maxsize=2)(self._pass)

    @property
    def packs(self) -> int:
        """Packs a pass; the same in every one."""
        return len(self._packs_of(0))

    def at(self, position: int) -> Pack:
        """The pack at this position, from 0."""
        number, place = divmod(position, self.packs)
        return self._packs_of(number)[place]

    def _pass(self, number: int) -> list[Pack]:
        """The packs of a pass. Sequences are shuffled before they are packed, so packs differ from pass to pass."""
        rng = np.random.default_rng((*self._seed, number))
        order = rng.permutation(len(self._lengths)).tolist()
        if self._strategy is PackingStrategy.NONE:
            return [(index,) for index in order]
        packs = best_fit_decreasing(self._lengths[order].tolist(), self._capacity)
        return [[order[index] for index in packs[place]] for place in rng.permutation(len(packs)).tolist()]

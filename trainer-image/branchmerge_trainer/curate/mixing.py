"""How many rows of each source a branch gets, and in which order.

Three rules, in this order. `maxRows` of a source caps it (that of prompts capped the prompts already; see `reading`).
`weight`s share `limits.maxRows` out among the sources; one that has too few rows leaves its room to the others. The
order is that of the sources, or of a shuffle; where something is capped, the first rows in that order stay.

In memory: nothing, where rows keep their order and have no weights. Else all rows must be known first: they go to a
file and are read back in their order; a place and a key a row stay in memory, 60 bytes at most.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from branchmerge.api.data import DataSpec, Source
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.spool import Spool

OVER_SOURCE = "over the source's maxRows"
OVER_BRANCH = "over limits.maxRows"


class Mixer:
    """The sources' caps and weights, and the branch's cap and order."""

    def __init__(self, data: DataSpec, spool: Path) -> None:
        """`spool`: file to keep rows in meanwhile; it is removed at the end."""
        self._caps = [None if source.prompts is not None else source.max_rows for source in data.sources]
        self._weights = _weights(data.sources)
        self._most = data.limits.max_rows if data.limits is not None else None
        self._seed = None if data.shuffle is None else data.shuffle.seed
        self._spool = spool

    @property
    def waits(self) -> bool:
        """Whether all rows must be known before the first is let pass."""
        return self._seed is not None or self._weights is not None

    def mixed(self, candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
        """The rows that are within all caps, in their order; the others are dropped."""
        return self._spooled(candidates, drop) if self.waits else self._streamed(candidates, drop)

    def _streamed(self, candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
        gate = _Gate(self._caps, self._caps, self._most)
        for candidate in candidates:
            reason = gate.refusal(candidate.source)
            if reason is None:
                yield candidate
            else:
                drop(reason, candidate)

    def _spooled(self, candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
        with Spool(self._spool) as spool:
            keys, sources = array("Q"), array("i")
            for candidate in candidates:
                spool.add(candidate)
                keys.append(len(keys) if self._seed is None else shuffle_key(self._seed, candidate))
                sources.append(candidate.source)
            gate = _Gate(self._caps, self._quotas(Counter(sources)), self._most)
            for place in np.argsort(np.asarray(keys, np.uint64), kind="stable").tolist():
                reason = gate.refusal(sources[place])
                if reason is None:
                    yield spool[place]
                else:
                    drop(reason, spool[place])

    def _quotas(self, found: Mapping[int, int]) -> Sequence[int | None]:
        """Rows of each source, of which there are so many as `found` says."""
        if self._weights is None or self._most is None:
            return self._caps
        available = [min(found[source], found[source] if cap is None else cap) for source, cap in enumerate(self._caps)]
        return shares(available, self._weights, self._most)


class _Gate:
    """Lets the first rows of each source pass."""

    def __init__(self, caps: Sequence[int | None], quotas: Sequence[int | None], most: int | None) -> None:
        """Per source what it may give and what it gives (not more); `most`: rows of all sources. None: no limit."""
        self._caps, self._quotas, self._most = caps, quotas, most
        self._seen: Counter[int] = Counter()
        self._passed = 0

    def refusal(self, source: int) -> str | None:
        """Why the next row of a source does not pass; None where it does."""
        self._seen[source] += 1
        if _is_over(self._seen[source], self._caps[source]):
            return OVER_SOURCE
        if _is_over(self._seen[source], self._quotas[source]) or _is_over(self._passed + 1, self._most):
            return OVER_BRANCH
        self._passed += 1
        return None


def _is_over(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit


def shuffle_key(seed: int, candidate: Candidate) -> int:
    """The row's place in the shuffle: 64 bits that depend on the seed and on where the row comes from."""
    text = f"{seed}/{candidate.source}/{candidate.row}/{candidate.sample}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def shares(available: Sequence[int], weights: Sequence[Fraction], total: int) -> list[int]:
    """Rows of each source: `total` in proportion to the weights, by largest remainder (the earlier source of equals).

    A source that has fewer than its share gives all it has, and the others share the rest.
    """
    quotas = [0] * len(available)
    remaining = min(total, sum(available))
    sharing = list(range(len(available)))
    while True:
        parts = sum(weights[source] for source in sharing)
        ideal = {source: remaining * weights[source] / parts for source in sharing}
        exhausted = [source for source in sharing if available[source] <= ideal[source]]
        if not exhausted:
            break
        for source in exhausted:
            quotas[source] = available[source]
            remaining -= available[source]
            sharing.remove(source)
    for source in sharing:
        quotas[source] = int(ideal[source])
    left = remaining - sum(quotas[source] for source in sharing)
    for source in sorted(sharing, key=lambda source: quotas[source] - ideal[source])[:left]:
        quotas[source] += 1
    return quotas


def _weights(sources: Sequence[Source]) -> list[Fraction] | None:
    """None where the sources have no weights; the API wants all of them to have one, or none."""
    weights = [Fraction(source.weight) for source in sources if source.weight is not None]
    return weights or None

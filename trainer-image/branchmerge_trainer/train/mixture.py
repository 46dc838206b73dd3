"""Which sources the sequences of a global batch come from: the branch itself, and the branches that are replayed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from branchmerge.api.errors import InputError

OWN = 0
"""Number of the source that is the branch itself; those that are replayed follow, in the order of `replay.from`."""


@dataclass(frozen=True)
class Draw:
    """One sequence of a batch: the one at `position` of the endless stream of `source`."""

    source: int
    position: int


@dataclass(frozen=True)
class Mixture:
    """The make-up of every global batch. It is a function of the step, so resuming at any step costs nothing."""

    own: int
    """Sequences a step of the branch itself."""
    replayed: int
    """Sequences a step of the other branches together."""
    others: int
    """Number of other branches."""

    @classmethod
    def of(cls, batch: int, fraction: float, others: int) -> Mixture:
        """`fraction` of a batch of `batch` sequences is replayed.

        The product is rounded to the nearest whole number, a half upwards, and is at least 1 and at most `batch` - 1:
        64 x 0.25 = 16; 10 x 0.25 = 2.5 -> 3; 8 x 0.01 -> 1. Raises InputError where the batch has no room for both.
        """
        if not others:
            return cls(batch, 0, 0)
        if batch < 2:
            raise InputError(
                f"replay.fraction: {fraction}, but a global batch of {batch} sequence has no room for replayed ones: "
                "set training.globalBatchSize to 2 or more"
            )
        replayed = min(max(math.floor(batch * fraction + 0.5), 1), batch - 1)
        return cls(batch - replayed, replayed, others)

    def draws(self, step: int) -> list[Draw]:
        """The sequences of the batch that follows `step` finished ones.

        Each other branch has an equal share: replayed sequences are dealt to them in turn, and where a batch does not
        divide evenly, the next batch goes on with the branch whose turn it is.
        """
        first = step * self.replayed
        turns = (divmod(number, self.others) for number in range(first, first + self.replayed))
        return [
            *(Draw(OWN, position) for position in range(step * self.own, (step + 1) * self.own)),
            *(Draw(OWN + 1 + turn, position) for position, turn in turns),
        ]

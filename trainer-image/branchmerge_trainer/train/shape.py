"""How a global batch is spread over ranks and forward passes, and how many steps a run has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from branchmerge.api.errors import InputError
from branchmerge.api.training import Training


@dataclass(frozen=True)
class BatchShape:
    """`sequences` = `ranks` x `accumulation` x `micro`, the global batch."""

    ranks: int
    accumulation: int
    """Forward passes a rank and step."""
    micro: int
    """Sequences a forward pass."""

    @classmethod
    def of(cls, training: Training, ranks: int) -> BatchShape:
        """The shape for this number of ranks. Raises InputError where the global batch cannot be divided so."""
        batch, micro = training.global_batch_size, training.micro_batch_size
        unit = ranks * micro
        if batch % unit:
            fitting = {max(unit, batch // unit * unit), math.ceil(batch / unit) * unit}
            raise InputError(
                f"training.globalBatchSize: {batch} is no multiple of {unit} (microBatchSize {micro} x {ranks} ranks): "
                f"use {' or '.join(map(str, sorted(fitting)))}, or another microBatchSize"
            )
        return cls(ranks, batch // unit, micro)

    @property
    def sequences(self) -> int:
        """The global batch."""
        return self.ranks * self.accumulation * self.micro


def count_steps(training: Training, packs: int, packs_a_step: int) -> int:
    """Optimizer steps of the run: `maxSteps`, or as many as `epochs` passes over the branch's `packs` take, rounded up.

    Only the branch's own packs count, of which a step takes `packs_a_step`; what is replayed lengthens no pass.
    """
    if training.max_steps is not None:
        return training.max_steps
    epochs = training.resolved_epochs
    assert epochs is not None, "either max_steps or epochs rules"
    return max(1, math.ceil(epochs * packs / packs_a_step))

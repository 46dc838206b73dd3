"""The circumstances of a run that the parts of the training share."""

from __future__ import annotations

from dataclasses import dataclass

from branchmerge.api.training import ComputeType, ParallelStrategy, Training
from branchmerge_trainer.train.ranks import Ranks
from branchmerge_trainer.train.shape import BatchShape


@dataclass(frozen=True)
class Setting:
    """What is wanted, and on what it runs."""

    training: Training
    shape: BatchShape
    ranks: Ranks

    @property
    def half(self) -> bool:
        """Whether forward and backward pass compute in bfloat16."""
        return self.training.precision.compute is ComputeType.BFLOAT16

    @property
    def sharded(self) -> bool:
        """Whether DeepSpeed spreads the model over the ranks."""
        return self.training.parallelism.strategy is ParallelStrategy.DEEPSPEED

"""How much of the machine an attempt takes, and whether there is room for one more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from branchmerge.api.base import RecordModel
from branchmerge.api.stage import StageKind
from branchmerge.api.training import ParallelStrategy
from branchmerge.core.model import Stage
from branchmerge.local.environment import Shape
from branchmerge.local.machine import Machine

GIBIBYTE = 1 << 30
_PROCESS_BYTES = GIBIBYTE
"""Python with torch and its libraries, and the activations of a small batch."""
_TRAINED_PARAMETER_BYTES = 16
"""fp32 master weight and gradient, and two fp32 Adam moments."""
_MERGED_PARAMETER_BYTES = 12
"""Measured with mergekit 0.1.5 on 0.5 G parameters: 3.4 GB (arcee_fusion) to 9.9 GB (sce)."""
_LOADED_PARAMETER_BYTES = 4


class Demand(RecordModel):
    """What an attempt takes."""

    cores: int
    memory_bytes: int
    gpus: list[str] = Field(default_factory=list, description="Names of its accelerators, of all nodes.")


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine gives to attempts."""

    machine: Machine
    parallel: int
    """Most attempts at a time."""
    parameters: int | None
    """Size of the student, None where it is not known; memory is then not watched."""

    @classmethod
    def of(cls, machine: Machine, *, branches: int, parallel: int | None, parameters: int | None) -> Capacity:
        """As many attempts as there are branches, cores and memory for, unless the user says otherwise.

        It follows from the machine and the job alone, never from the load of the moment: the number of threads of a
        stage depends on it, and with that the last digits of its result.
        """
        if parallel is None:
            memory = memory_bytes(StageKind.TRAIN, parameters or 0, replicas=1, ranks=1)
            parallel = max(1, min(branches, machine.cores, machine.memory_bytes // memory))
        return cls(machine, parallel, parameters)

    @property
    def slot_cores(self) -> int:
        """Cores of an attempt that has one rank."""
        return max(1, self.machine.cores // self.parallel)

    def admit(self, stage: Stage, held: Sequence[Demand]) -> Demand | None:
        """What the stage gets if it may start beside the attempts that run, None where it must wait.

        One alone may always start, however small the machine is: it may be all there is to do.
        """
        demand = self._demand(stage, held)
        if len(demand.gpus) < Shape.of(stage).nodes * stage.resources.gpus_per_node:
            return None
        if not held:
            return demand
        cores = max(self.machine.cores, self.parallel * self.slot_cores)
        room = (
            len(held) < self.parallel
            and sum(other.cores for other in held) + demand.cores <= cores
            and sum(other.memory_bytes for other in held) + demand.memory_bytes <= self.machine.memory_bytes
        )
        return demand if room else None

    def _demand(self, stage: Stage, held: Sequence[Demand]) -> Demand:
        """A slot, or a core for each rank where it has several; and the first accelerators that are free."""
        shape = Shape.of(stage)
        training = getattr(stage.task, "training", None)
        sharded = training is not None and training.parallelism.strategy is ParallelStrategy.DEEPSPEED
        taken = {gpu for other in held for gpu in other.gpus}
        free = [gpu for gpu in self.machine.gpus if gpu not in taken]
        return Demand(
            cores=max(self.slot_cores, shape.ranks),
            memory_bytes=memory_bytes(
                stage.kind,
                0 if stage.resources.gpus_per_node else self.parameters or 0,
                replicas=1 if sharded else shape.ranks,
                ranks=shape.ranks,
            ),
            gpus=free[: shape.nodes * stage.resources.gpus_per_node],
        )


def memory_bytes(kind: StageKind, parameters: int, *, replicas: int, ranks: int) -> int:
    """Rough memory of a stage, in bytes: a sum for its processes, and one for copies of the model by what is done."""
    match kind:
        case StageKind.TRAIN:
            return ranks * _PROCESS_BYTES + replicas * parameters * _TRAINED_PARAMETER_BYTES
        case StageKind.MERGE:
            return _PROCESS_BYTES + parameters * _MERGED_PARAMETER_BYTES
        case StageKind.EVALUATE:
            return _PROCESS_BYTES + parameters * _LOADED_PARAMETER_BYTES
        case _:
            return _PROCESS_BYTES

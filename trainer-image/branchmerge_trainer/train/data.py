"""What a run learns from: the corpora, the order of their packs, and what each global batch is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge.api.stage import TrainTask
from branchmerge_trainer.runtime import StageContext
from branchmerge_trainer.train.batching import Batches
from branchmerge_trainer.train.corpus import Corpus
from branchmerge_trainer.train.layout import Layout
from branchmerge_trainer.train.mixture import OWN, Mixture
from branchmerge_trainer.train.preparation import open_corpora
from branchmerge_trainer.train.shape import BatchShape, count_steps
from branchmerge_trainer.train.stream import Stream
from branchmerge_trainer.train.student import Student


@dataclass(frozen=True)
class Data:
    """The data of a run, the same for every rank."""

    corpora: Sequence[Corpus]
    streams: Sequence[Stream]
    mixture: Mixture
    shape: BatchShape
    steps: int
    """Optimizer steps of the run."""

    @classmethod
    def prepare(cls, task: TrainTask, shape: BatchShape, student: Student, context: StageContext, rank: int) -> Data:
        """Encode what an earlier attempt has not. Raises InputError where rows, template and settings do not fit."""
        training = task.training
        fraction = task.replay.fraction if task.replay else 0.0
        mixture = Mixture.of(shape.sequences, fraction, len(task.replay_sources))
        corpora = open_corpora(task, student, context, rank=rank)
        streams = [
            Stream(
                corpus.lengths,
                training.packing.strategy,
                training.sequence_length,
                seed=training.seed,
                source=number,
            )
            for number, corpus in enumerate(corpora)
        ]
        steps = count_steps(training, streams[OWN].packs, mixture.own)
        return cls(corpora, streams, mixture, shape, steps)

    def batches(self, layout: Layout) -> Batches:
        """The batches of every step."""
        return Batches(self.corpora, self.streams, self.mixture, self.shape, layout)

    @property
    def epochs(self) -> float:
        """Passes over the branch's own packs."""
        return self.steps * self.mixture.own / self.streams[OWN].packs

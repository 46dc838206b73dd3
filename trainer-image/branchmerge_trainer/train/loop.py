"""The steps of a run, from wherever it stands to the last one."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from branchmerge.api.errors import InputError
from branchmerge.api.training import Training
from branchmerge_trainer.failures import Interrupted
from branchmerge_trainer.runtime import StageContext
from branchmerge_trainer.train.batching import Batches, StepBatch
from branchmerge_trainer.train.checkpoints import Checkpoint, Checkpoints
from branchmerge_trainer.train.engine import Engine
from branchmerge_trainer.train.history import StepRecord, read_history, write_history
from branchmerge_trainer.train.randomness import load_randomness, save_randomness, seed_randomness
from branchmerge_trainer.train.ranks import Ranks
from branchmerge_trainer.train.schedule import learning_rate

_LOGGED_SHARE = 20
"""Lines in the log of a run, about; of a long run more, so that none is further away than the next."""
_LOGGED_STEPS = 50


class Loop:
    """Trains, saves, reports; stops where all ranks agree to."""

    def __init__(
        self,
        engine: Engine,
        batches: Batches,
        checkpoints: Checkpoints,
        training: Training,
        steps: int,
        ranks: Ranks,
        context: StageContext,
    ) -> None:
        self._engine = engine
        self._batches = batches
        self._checkpoints = checkpoints
        self._training = training
        self._steps = steps
        self._ranks = ranks
        self._context = context
        self.history: list[StepRecord] = []

    def run(self, start: Checkpoint | None) -> None:
        """Go on from `start`, or begin.

        Raises Interrupted after a checkpoint where a stop was requested of any rank, InputError where the loss or
        the gradient is not finite.
        """
        seed_randomness(self._training.seed, self._ranks)
        if start is not None:
            self._load(start.folder)
        done = len(self.history)
        self._context.progress.phase("training", steps=self._steps, step=done)
        self._log(f"training from step {done} to {self._steps}")
        while done < self._steps:
            stop = self._step(done)
            done += 1
            stop = stop and done < self._steps  # after the last step only the specialist is left to save
            if stop or done % self._training.checkpoint.every_steps == 0:
                self._checkpoints.save(done, self._save)
            if stop:
                raise Interrupted(f"stopped after step {done} of {self._steps}; its checkpoint is kept")

    def _step(self, done: int) -> bool:
        """One optimizer step. Returns whether a rank was asked to stop."""
        batch = self._batches.at(done, self._ranks.rank)
        rate = learning_rate(self._training.schedule, self._training.learning_rate, done, self._steps)
        loss, stops = self._ranks.total(self._gradients(batch), float(self._context.stop.requested))
        norm = self._engine.step(rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise InputError(
                f"training.learningRate: {self._training.learning_rate}: at step {done + 1} the loss is {loss:.4g} and "
                f"the gradient's norm {norm:.4g}: lower it, or set training.maxGradNorm or schedule.warmupRatio"
            )
        self._record(StepRecord(done + 1, loss, rate, norm, batch.tokens))
        return stops > 0

    def _gradients(self, batch: StepBatch) -> float:
        """Add up the gradients of this rank's passes. Returns its part of the loss."""
        parts = [
            self._engine.backward(inputs, batch.trained_tokens, last=number == len(batch.passes))
            for number, inputs in enumerate(batch.passes, start=1)
        ]
        return float(torch.stack(parts).double().sum().item())

    def _record(self, record: StepRecord) -> None:
        self.history.append(record)
        self._context.progress.advance(record.step, tokens=record.tokens, loss=record.loss)
        every = max(1, min(_LOGGED_STEPS, self._steps // _LOGGED_SHARE))
        if record.step % every == 0 or record.step == self._steps:
            rate = self._context.progress.latest.tokens_per_second or 0.0
            self._log(
                f"step {record.step}/{self._steps}  loss {record.loss:.4f}  grad norm {record.grad_norm:.3f}  "
                f"lr {record.learning_rate:.2e}  {rate:,.0f} tokens/s"
            )

    def _save(self, folder: Path) -> None:
        self._engine.save(folder)
        save_randomness(folder, self._ranks)
        if self._ranks.leads:
            write_history(folder, self.history)

    def _load(self, folder: Path) -> None:
        self._engine.load(folder)
        load_randomness(folder, self._ranks)
        self.history = read_history(folder)

    def _log(self, line: str) -> None:
        if self._ranks.leads:
            print(line, flush=True)

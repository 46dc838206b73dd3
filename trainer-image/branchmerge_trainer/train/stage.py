"""The training of one branch: rows are prepared, the student is loaded, trained, and saved as the specialist."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean

from branchmerge.api.stage import TrainTask
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.train.checkpoints import Checkpoint, Checkpoints
from branchmerge_trainer.train.data import Data
from branchmerge_trainer.train.engine import Engine
from branchmerge_trainer.train.history import StepRecord, write_history
from branchmerge_trainer.train.layout import Layout
from branchmerge_trainer.train.loop import Loop
from branchmerge_trainer.train.mixture import OWN
from branchmerge_trainer.train.model import choose_layout, collect, load_model, save_specialist
from branchmerge_trainer.train.quiet import quiet_libraries
from branchmerge_trainer.train.ranks import Ranks
from branchmerge_trainer.train.replicas import Replicas
from branchmerge_trainer.train.setting import Setting
from branchmerge_trainer.train.shape import BatchShape
from branchmerge_trainer.train.student import Student

_FINAL_SHARE = 0.1
"""Share of the steps, the last ones, that the loss in the result is the mean of."""


def run(task: TrainTask, context: StageContext, folder: Path) -> Findings:
    """Write a Hugging Face model folder and `history.jsonl` to `folder`. Every rank calls it; the first one writes.

    Raises InputError where settings, student, template and rows do not fit together, Interrupted after a checkpoint.
    """
    training, ranks = task.training, Ranks.from_env(os.environ)
    setting = Setting(training, BatchShape.of(training, ranks.world), ranks)
    quiet_libraries(ranks.device)
    student = Student.open(task.student, context.workspace)
    data = Data.prepare(task, setting.shape, student, context, ranks.rank)
    context.progress.phase("loading model")
    if ranks.world > 1 or setting.sharded:
        ranks.join()
    layout = choose_layout(student, setting)
    checkpoints = Checkpoints(context.work / "checkpoints", training.checkpoint.keep, ranks)
    start = checkpoints.newest()
    engine = _make_engine(student, setting, layout, start)
    loop = Loop(engine, data.batches(layout), checkpoints, training, data.steps, ranks, context)
    loop.run(start)
    context.progress.phase("saving the specialist")
    weights = collect(engine.weights(), student.dtype, keep=ranks.leads)
    if ranks.leads:
        save_specialist(engine.model, weights, student, folder)
        write_history(folder, loop.history)
    return _findings(data, loop.history)


def _make_engine(student: Student, setting: Setting, layout: Layout, start: Checkpoint | None) -> Engine:
    """Load the student and spread it over the ranks, to go on from `start`."""
    if setting.sharded:
        from branchmerge_trainer.train.zero import make_zero

        return make_zero(student, setting, layout, start)
    return Replicas(load_model(student, setting, layout), setting)


def _findings(data: Data, history: list[StepRecord]) -> Findings:
    own = data.corpora[OWN]
    final = history[-max(1, round(len(history) * _FINAL_SHARE)) :]
    figures = {
        "rows": own.facts["rows"],
        "truncated": own.facts["truncated"],
        "sequences": len(own),
        "packs": data.streams[OWN].packs,
        "epochs": data.epochs,
        "steps": len(history),
        "tokens": sum(record.tokens for record in history),
        "loss": fmean(record.loss for record in final),
    }
    return Findings(figures={name: float(value) for name, value in figures.items()}, dropped=own.facts["dropped"])

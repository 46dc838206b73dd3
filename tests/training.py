"""Branches that are trained for real: a pico student, a few rows, and the trainer in this process or in its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from branchmerge.api.data import Replay
from branchmerge.api.stage import ModelRef, Outcome, ReplaySource, StageConfig, TrainTask
from branchmerge.api.training import Training
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.dataset import RowsWriter
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import StageContext, run_stage
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace
from tinymodels import make_model, make_tokenizer, save

STUDENT = "student"
BASIC: Mapping[str, Any] = {
    "maxSteps": 6,
    "learningRate": 1e-2,
    "sequenceLength": 64,
    "globalBatchSize": 8,
    "microBatchSize": 4,
    "packing": {"strategy": "None"},
    "precision": {"compute": "float32"},
    "schedule": {"type": "constant"},
    "checkpoint": {"everySteps": 2, "keep": 2, "gracePeriodSeconds": 30},
}

Messages = list[dict[str, str]]
Tensors = Mapping[str, torch.Tensor]


def talk(*contents: str, system: str | None = None) -> Messages:
    """A conversation; the user begins."""
    turns = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + turns


def sums(count: int, *, offset: int = 0) -> list[Messages]:
    """Rows of different lengths, each with a trace."""
    rows = []
    for number in range(offset, offset + count):
        left, right = number, 7 * number % 13
        trace = " ".join(f"{left}+{step}" for step in range(number % 5 + 1))
        rows.append(talk(f"{left}+{right}=", f"<think>{trace}</think>{left + right}"))
    return rows


class Bench:
    """A workspace with a student and curated rows."""

    def __init__(self, root: Path, *, model: Any = None, tokenizer: Any = None, **saving: Any) -> None:
        self.root = root
        save(root / STUDENT, model or make_model(), tokenizer=tokenizer or make_tokenizer(), **saving)
        self.rows("math", sums(40))

    def rows(self, branch: str, rows: Sequence[Messages]) -> None:
        folder = self.root / "rows" / branch
        folder.mkdir(parents=True, exist_ok=True)
        with RowsWriter(folder) as writer:
            for number, row in enumerate(rows, start=1):
                writer.add(Candidate(0, number, row))

    def config(
        self, name: str = "run", *, replay: tuple[float, list[str]] | None = None, attempt: int = 1, **changes: Any
    ) -> StageConfig:
        """An attempt's orders. Attempts of one `name` are of one stage: they share its work and its output."""
        training = Training.model_validate(BASIC | {"maxSteps": None} if "epochs" in changes else BASIC)
        training = Training.model_validate(training.model_dump(by_alias=True, exclude_none=True) | changes)
        fraction, others = replay or (0.0, [])
        task = TrainTask(
            branch="math",
            student=ModelRef(name="student", model=STUDENT),
            rows="rows/math",
            training=training,
            replay=Replay.model_validate({"fraction": fraction, "from": others}) if replay else None,
            replay_sources=[ReplaySource(branch=name, rows=f"rows/{name}") for name in others],
        )
        return StageConfig(
            job="demo",
            stage="train/math",
            fingerprint="f" * 64,
            attempt=attempt,
            output=output(name),
            ingredients={"kind": "train"},
            task=task,
        )

    def context(self, config: StageConfig) -> StageContext:
        return StageContext(config, Workspace(self.root, self.root), ProgressReporter([]), StopFlag(at_once=False))

    def train(self, name: str = "run", **changes: Any) -> Path:
        """Train and publish in this process. Returns the output folder."""
        run_stage(self.context(self.config(name, **changes)))
        return self.output(name)

    def start(self, config: StageConfig, *, ranks: int = 1, **environment: str) -> subprocess.Popen[str]:
        """Start the trainer as a container does."""
        return subprocess.Popen(
            [sys.executable, "-m", "branchmerge_trainer"],
            env=os.environ
            | {
                "BRANCHMERGE_STAGE": config.to_json(),
                "BRANCHMERGE_WORKSPACE": str(self.root),
                "BRANCHMERGE_TERMINATION_LOG": str(self.root / "outcome.json"),
                "BRANCHMERGE_PROGRESS_FILE": str(self.root / "progress.json"),
                "PET_NPROC_PER_NODE": str(ranks),
                "OMP_NUM_THREADS": "1",
            }
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def outcome(self) -> Outcome:
        """The termination message."""
        return Outcome.model_validate_json((self.root / "outcome.json").read_bytes())

    def output(self, name: str = "run") -> Path:
        return self.root / output(name)


def output(name: str) -> str:
    return f"stages/train/math/{name}"


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in history(folder)]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}

"""Tiny families of models, and merges of them as the stage does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from branchmerge.api.merge import MergeStep
from branchmerge.api.stage import MergeTask, ModelRef, StageConfig
from branchmerge_trainer.merge.stage import run
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace
from tinymodels import make_model, save

Tensors = Mapping[str, torch.Tensor]
SPECIALISTS = ["math", "coding", "science"]
TASK_VECTORS = {"models": SPECIALISTS, "base": "student"}
STEPS: Mapping[str, dict[str, Any]] = {
    "arcee_fusion": {"models": ["math"], "base": "coding"},
    "linear": {"models": SPECIALISTS, "weights": [1, 2, 5]},
    "slerp": {"models": ["math"], "base": "coding", "parameters": {"t": 0.3}},
    "nuslerp": {"models": ["math", "coding"], "base": "student", "weights": [1, 3]},
    "multislerp": {"models": SPECIALISTS, "base": "student"},
    "karcher": {"models": SPECIALISTS},
    "nearswap": {"models": ["math"], "base": "coding", "parameters": {"t": 0.001}},
    "task_arithmetic": TASK_VECTORS | {"weights": [0.2, 0.3, 0.4], "parameters": {"lambda": 0.5}},
    "ties": TASK_VECTORS | {"parameters": {"density": 0.5, "normalize": True}},
    "dare_linear": TASK_VECTORS | {"parameters": {"density": 0.5}},
    "dare_ties": TASK_VECTORS | {"parameters": {"density": 0.5}},
    "della": TASK_VECTORS | {"parameters": {"density": 0.5, "epsilon": 0.1}},
    "della_linear": TASK_VECTORS | {"parameters": {"density": 0.5, "epsilon": 0.1}},
    "breadcrumbs": TASK_VECTORS | {"parameters": {"density": 0.9, "gamma": 0.02}},
    "breadcrumbs_ties": TASK_VECTORS | {"parameters": {"density": 0.9, "gamma": 0.02}},
    "sce": TASK_VECTORS | {"parameters": {"select_topk": 0.5}},
    "model_stock": TASK_VECTORS,
}


def make_family(folder: Path, family: str = "qwen2", dtype: torch.dtype = torch.float32, **settings: Any) -> Path:
    """A student and three specialists: the student plus noise of their own."""
    student = make_model(family, **settings).state_dict()
    for number, name in enumerate(("student", *SPECIALISTS)):
        model = make_model(family, **settings)
        generator = torch.Generator().manual_seed(number)
        model.load_state_dict(
            {key: w + 0.02 * (number > 0) * torch.randn(w.shape, generator=generator) for key, w in student.items()}
        )
        save(folder / name, model, dtype=dtype, shard="40KB")
    return folder


def task(method: str, dtype: str = "float32", out_dtype: str = "float32", seed: int = 1, **step: Any) -> MergeTask:
    merge_step = MergeStep.model_validate({"name": "final", "method": method} | (step or STEPS[method]))
    return MergeTask(
        step=merge_step,
        models={name: ModelRef(name=f"specialist/{name}", output=name) for name in merge_step.inputs},
        student=ModelRef(name="student", output="student"),
        dtype=dtype,
        out_dtype=out_dtype,
        shard_bytes=50_000,
        seed=seed,
    )


def config(merge: MergeTask) -> StageConfig:
    return StageConfig(
        job="demo",
        stage="merge/final",
        fingerprint="f" * 64,
        attempt=1,
        output="stages/merge/final/ffff",
        ingredients={"kind": "merge"},
        task=merge,
    )


def merge(family: Path, folder: Path, merge_task: MergeTask) -> Findings:
    folder.mkdir(parents=True)
    context = StageContext(config(merge_task), Workspace(family, family), ProgressReporter([]), StopFlag(at_once=True))
    return run(merge_task, context, folder)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def assert_close(merged: Path, expected: Tensors, tolerance: float = 1e-6) -> None:
    found = tensors(merged)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )

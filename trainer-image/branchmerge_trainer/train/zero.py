"""DeepSpeed shards optimizer states, gradients and weights over the ranks (ZeRO)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from branchmerge_trainer.train.checkpoints import Checkpoint
from branchmerge_trainer.train.engine import loss_of, make_optimizer
from branchmerge_trainer.train.layout import Layout, Tensors
from branchmerge_trainer.train.model import load_model
from branchmerge_trainer.train.setting import Setting
from branchmerge_trainer.train.student import Student

_TAG = "zero"
_UNIVERSAL_TAG = "universal"
_NEVER = 10**9


def configuration(setting: Setting, *, universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's configuration. Weights stay fp32; `torch_autocast` computes in bfloat16, and sends that too.

    `universal`: checkpoints are read in the form that fits any number of ranks.
    """
    training, shape = setting.training, setting.shape
    return {
        "train_micro_batch_size_per_gpu": shape.micro,
        "gradient_accumulation_steps": shape.accumulation,
        "gradient_clipping": training.max_grad_norm,
        "zero_optimization": {"stage": training.parallelism.zero_stage},
        "zero_allow_untested_optimizer": True,
        "torch_autocast": {"enabled": setting.half, "dtype": "bfloat16"},
        "checkpoint": {"load_universal": universal},
        "steps_per_print": _NEVER,
    }


def make_zero(student: Student, setting: Setting, layout: Layout, start: Checkpoint | None) -> Zero:
    """Load the student and shard it; `start` is what will be loaded. At stage 3 no rank ever holds all weights."""
    deepspeed = _import_deepspeed()
    from transformers.integrations import deepspeed as integration

    universal = start is not None and start.world != setting.ranks.world and _is_partitioned(setting)
    config = configuration(setting, universal=universal)
    announce: Any = integration.HfDeepSpeedConfig
    announced = announce(config)  # while it is alive, transformers shards the weights as it reads them
    model = load_model(student, setting, layout)
    del announced
    optimizer = make_optimizer(model, setting.training)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return Zero(model, optimizer, engine, setting, universal=universal)


class Zero:
    """A model whose parts lie on all ranks."""

    def __init__(
        self, model: Any, optimizer: torch.optim.Optimizer, engine: Any, setting: Setting, *, universal: bool
    ) -> None:
        self.model = model
        self._optimizer = optimizer
        self._engine = engine
        self._setting = setting
        self._universal = universal

    def backward(self, inputs: Tensors, trained_tokens: int, *, last: bool) -> torch.Tensor:
        """See `Engine`."""
        ranks = self._setting.ranks
        loss = loss_of(self._engine, inputs, trained_tokens, ranks.device)
        self._engine.backward(loss * ranks.world, scale_wrt_gas=False)  # averaged over ranks, to be summed
        if not last:
            self._engine.step()  # counts the pass
        return loss.detach()

    def step(self, rate: float) -> float:
        """See `Engine`."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        whole = None if _is_partitioned(self._setting) else self._norm()
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if whole is None else whole)

    def save(self, folder: Path) -> None:
        """See `Engine`."""
        self._engine.save_checkpoint(str(folder), tag=_TAG)

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        if not self._universal:
            self._engine.load_checkpoint(str(folder), tag=_TAG)
            return
        if self._setting.ranks.leads:
            _convert(folder)
        self._setting.ranks.wait()
        settings = [_settings(group) for group in self._optimizer.param_groups]
        self._engine.load_checkpoint(str(folder), tag=_UNIVERSAL_TAG)
        self._separate(settings)

    def _norm(self) -> torch.Tensor:
        """Norm of the gradients, which at stage 0 DeepSpeed does not tell."""
        return torch.nn.utils.get_total_norm(p.grad for p in self.model.parameters() if p.grad is not None)

    def _separate(self, settings: list[dict[str, Any]]) -> None:
        """Give each group of parameters its own settings and count of steps.

        At stage 3 DeepSpeed loads those of the first group into all, and one shared tensor as the count.
        """
        for group, own in zip(self._optimizer.param_groups, settings, strict=True):
            group |= own
        for state in self._optimizer.state.values():
            state["step"] = state["step"].clone()

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """See `Engine`."""
        from deepspeed.runtime.zero import GatheredParameters

        for name, parameter in self.model.named_parameters():
            with GatheredParameters(parameter):
                yield name, parameter.detach()


def _is_partitioned(setting: Setting) -> bool:
    """Whether a checkpoint is in parts, one a rank."""
    return setting.training.parallelism.zero_stage > 0


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _convert(folder: Path) -> None:
    """Write a checkpoint anew, in the form that fits any number of ranks."""
    print("the number of ranks has changed: the checkpoint is converted", flush=True)
    shutil.rmtree(folder / _UNIVERSAL_TAG, ignore_errors=True)  # an attempt may have been killed here
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    places = ["--input_folder", str(folder / _TAG), "--output_folder", str(folder / _UNIVERSAL_TAG)]
    converted = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    if converted.returncode != 0:
        raise RuntimeError(f"{folder}: DeepSpeed cannot convert it: {converted.stderr[-500:].strip()}")


def _import_deepspeed() -> Any:
    """DeepSpeed, joined to the process group that is there."""
    import deepspeed

    # A kernel for inference on CPUs, which would be compiled for half a minute and is never used here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    return deepspeed

"""DeepSpeed shards optimizer states, gradients and weights over the ranks (ZeRO)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from branchmerge_trainer.train.batching import Attention, Tensors
from branchmerge_trainer.train.engine import loss_of, make_optimizer
from branchmerge_trainer.train.model import load_model
from branchmerge_trainer.train.setting import Setting
from branchmerge_trainer.train.student import Student

_TAG = "zero"
_NEVER = 10**9


def configuration(setting: Setting) -> dict[str, Any]:
    """DeepSpeed's configuration. Weights stay fp32; `torch_autocast` computes in bfloat16, and sends that too."""
    training, shape = setting.training, setting.shape
    return {
        "train_micro_batch_size_per_gpu": shape.micro,
        "gradient_accumulation_steps": shape.accumulation,
        "gradient_clipping": training.max_grad_norm,
        "zero_optimization": {"stage": training.parallelism.zero_stage},
        "zero_allow_untested_optimizer": True,
        "torch_autocast": {"enabled": setting.half, "dtype": "bfloat16"},
        "steps_per_print": _NEVER,
    }


def make_zero(student: Student, setting: Setting, attention: Attention) -> Zero:
    """Load the student and shard it. At stage 3 no rank ever holds all weights."""
    deepspeed = _import_deepspeed()
    from transformers.integrations import deepspeed as integration

    config = configuration(setting)
    announce: Any = integration.HfDeepSpeedConfig
    announced = announce(config)  # while it is alive, transformers shards the weights as it reads them
    model = load_model(student, setting, attention)
    del announced
    engine, *_ = deepspeed.initialize(model=model, optimizer=make_optimizer(model, setting.training), config=config)
    return Zero(model, engine, deepspeed.zero.GatheredParameters, setting)


class Zero:
    """A model whose parts lie on all ranks."""

    def __init__(self, model: Any, engine: Any, gathered: Any, setting: Setting) -> None:
        self.model = model
        self._engine = engine
        self._gathered = gathered
        self._setting = setting
        self._partitioned = setting.training.parallelism.zero_stage > 0

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
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        whole = None if self._partitioned else self._norm()
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if whole is None else whole)

    def save(self, folder: Path) -> None:
        """See `Engine`."""
        self._engine.save_checkpoint(str(folder), tag=_TAG)

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        path, _ = self._engine.load_checkpoint(str(folder), tag=_TAG)
        assert path is not None, f"{folder}: complete, but DeepSpeed finds nothing in it"

    def _norm(self) -> torch.Tensor:
        """Norm of the gradients, which at stage 0 DeepSpeed does not tell."""
        return torch.nn.utils.get_total_norm(p.grad for p in self.model.parameters() if p.grad is not None)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """See `Engine`."""
        for name, parameter in self.model.named_parameters():
            with self._gathered(parameter):
                yield name, parameter.detach()


def _import_deepspeed() -> Any:
    """DeepSpeed, joined to the process group that is there."""
    import deepspeed

    # A kernel for inference on CPUs, which would be compiled for half a minute and is never used here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    return deepspeed

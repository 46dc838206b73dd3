"""Every rank holds the whole model; gradients are averaged by PyTorch's DistributedDataParallel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from branchmerge_trainer.train.engine import loss_of, make_optimizer
from branchmerge_trainer.train.layout import Tensors
from branchmerge_trainer.train.setting import Setting

_FILE = "state.pt"


class Replicas:
    """One replica a rank; a lone process has no process group."""

    def __init__(self, model: Any, setting: Setting) -> None:
        self.model = model.to(setting.ranks.device)
        self._setting = setting
        self._optimizer = make_optimizer(self.model, setting.training)
        self._alone = setting.ranks.world == 1
        self._replica = self.model
        if not self._alone:  # its buffers are constants, such as frequencies
            self._replica = DistributedDataParallel(
                self.model, gradient_as_bucket_view=True, forward_sync_buffers=False
            )

    def backward(self, inputs: Tensors, trained_tokens: int, *, last: bool) -> torch.Tensor:
        """See `Engine`."""
        ranks = self._setting.ranks
        with nullcontext() if last or self._alone else self._replica.no_sync():
            with torch.autocast(ranks.device.type, torch.bfloat16, enabled=self._setting.half):
                loss = loss_of(self._replica, inputs, trained_tokens, ranks.device)
            torch.autograd.backward(loss * ranks.world)  # averaged over ranks, to be summed
        return loss.detach()

    def step(self, rate: float) -> float:
        """See `Engine`."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        limit = self._setting.training.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm.item()

    def save(self, folder: Path) -> None:
        """See `Engine`. Replicas are equal, so one rank writes."""
        if self._setting.ranks.leads:
            with (folder / _FILE).open("wb") as file:  # so a full disk is an OSError
                torch.save({"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}, file)

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        state = torch.load(folder / _FILE, map_location="cpu", mmap=True, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """See `Engine`."""
        for name, parameter in self.model.named_parameters():
            yield name, parameter.detach()

"""What the training loop needs of a model that is spread over ranks; one implementation a strategy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from branchmerge.api.training import Training
from branchmerge_trainer.train.layout import Tensors


class Engine(Protocol):
    """A model with its optimizer. Master weights and optimizer states are fp32."""

    model: Any
    """The transformers model itself."""

    def backward(self, inputs: Tensors, trained_tokens: int, *, last: bool) -> torch.Tensor:
        """One forward and backward pass; gradients add up until `step`.

        Returns this pass's part of the loss: the sum over its learned tokens, divided by `trained_tokens`, those of the
        whole global batch. `last`: the last pass before `step`.
        """

    def step(self, rate: float) -> float:
        """Clip the gradients, update the weights, clear the gradients. Returns the norm before it was clipped."""

    def save(self, folder: Path) -> None:
        """Write weights and optimizer states. All ranks call it, with one shared folder."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and whole value of each parameter; all ranks iterate together."""


def loss_of(module: Any, inputs: Tensors, trained_tokens: int, device: torch.device) -> torch.Tensor:
    """One forward pass: the sum of the loss over its learned tokens, divided by `trained_tokens`.

    Without `use_cache=False` transformers does not look at `position_ids`, and packed sequences see each other.
    """
    moved = {name: tensor.to(device) for name, tensor in inputs.items()}
    loss: torch.Tensor = module(**moved, num_items_in_batch=trained_tokens, use_cache=False).loss
    return loss


def make_optimizer(model: Any, training: Training) -> torch.optim.AdamW:
    """The optimizer of all parameters; its rate is set at each step. Matrices decay, norms and biases do not."""
    parameters = list(model.parameters())
    matrices = [parameter for parameter in parameters if _dimensions(parameter) > 1]
    vectors = [parameter for parameter in parameters if _dimensions(parameter) <= 1]
    chosen = training.optimizer
    first, second = chosen.betas
    groups = [{"params": matrices, "weight_decay": chosen.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=training.learning_rate,
        betas=(first, second),
        eps=chosen.epsilon,
        fused=True,
    )


def _dimensions(parameter: Any) -> int:
    """Dimensions of the whole parameter; ZeRO-3 keeps the shape of a sharded one aside."""
    return len(getattr(parameter, "ds_shape", parameter.shape))

"""How much of the weights each merge has changed, by kind of tensor and by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from branchmerge_trainer.merge.tensors import TensorChange, share
from branchmerge_trainer.report.facts import Merge

_OPTIONS = ("weights", "parameters")


@dataclass(frozen=True)
class Kind:
    """Tensors of one name over all layers."""

    name: str
    """Such as `self_attn.q_proj`."""
    layers: tuple[float | None, ...]
    """Share (0-1) of changed elements in each layer, None where a layer has none; empty for tensors of no layer."""
    changed: float
    """Share (0-1) of changed elements over all layers."""


@dataclass(frozen=True)
class Density:
    """What one step of the recipe has changed."""

    name: str
    method: str
    models: tuple[str, ...]
    reference: str
    """The model that changes count from."""
    has_base: bool
    """Whether the step names that model as its base."""
    options: str
    """Weights and parameters of the step, as a spec has them."""
    changed: float
    """Share (0-1) of all elements."""
    layers: int
    kinds: tuple[Kind, ...]

    @property
    def even(self) -> bool:
        """Whether about every element changed in every kind of tensor, so that there is nothing to see."""
        return min((kind.changed for kind in self.kinds), default=1.0) > 0.999

    @property
    def highest(self) -> float:
        """The highest share of any kind in any layer."""
        shares = [share for kind in self.kinds for share in (kind.changed, *kind.layers) if share is not None]
        return max(shares, default=0.0)


def density(merge: Merge) -> Density:
    """What a step has changed."""
    placed = [(*_place(tensor.tensor), tensor) for tensor in merge.tensors]
    layers = max((layer + 1 for layer, _, _ in placed if layer is not None), default=0)
    kinds: dict[str, dict[int | None, list[TensorChange]]] = {}
    for layer, kind, tensor in placed:
        kinds.setdefault(kind, {}).setdefault(layer, []).append(tensor)
    return Density(
        name=merge.name,
        method=str(merge.step["method"]),
        models=tuple(merge.step["models"]),
        reference=merge.reference,
        has_base="base" in merge.step,
        options=_options(merge.step),
        changed=share(merge.tensors),
        layers=layers,
        kinds=tuple(_kind(name, by_layer, layers) for name, by_layer in kinds.items()),
    )


def _kind(name: str, by_layer: Mapping[int | None, Sequence[TensorChange]], layers: int) -> Kind:
    strip = (
        ()
        if None in by_layer
        else tuple(share(by_layer[layer]) if layer in by_layer else None for layer in range(layers))
    )
    return Kind(name, strip, share(tensor for tensors in by_layer.values() for tensor in tensors))


def _place(tensor: str) -> tuple[int | None, str]:
    """(layer, kind) of a tensor: its first number, and its name without numbers (of experts, say) and wrappers."""
    parts = tensor.removeprefix("model.").removesuffix(".weight").split(".")
    layer = next((int(part) for part in parts if part.isdigit()), None)
    return layer, ".".join(part for part in parts if not part.isdigit() and part not in ("layers", "model"))


def _options(step: Mapping[str, object]) -> str:
    given: dict[str, object] = {}
    for name in _OPTIONS:
        value = step.get(name)
        if isinstance(value, Mapping):
            given |= value
        elif value:
            given[name] = value
    return ", ".join(f"{name} {value}" for name, value in given.items())

"""The settings that branches were trained with, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchmerge_trainer.report.facts import Branch

_ONLY_WITH = {
    "parallelism.zeroStage": ("parallelism.strategy", "DeepSpeed"),
    "schedule.minRateRatio": ("schedule.type", "cosine_with_min_lr"),
}
"""Settings that mean nothing unless another one has this value."""


@dataclass(frozen=True)
class Setting:
    """One setting, and its value in each branch."""

    name: str
    """Such as `optimizer.weightDecay`."""
    values: tuple[str, ...]

    @property
    def shared(self) -> bool:
        """Whether all branches have the same value."""
        return len(set(self.values)) == 1


def settings(branches: Sequence[Branch]) -> list[Setting]:
    """Every setting with an effect, those in which the branches differ first."""
    each = [dict(_effective(branch.training.ingredients["training"])) for branch in branches]
    names = dict.fromkeys(name for one in each for name in one)
    rows = [Setting(name, tuple(one.get(name, "–") for one in each)) for name in names]
    return sorted(rows, key=lambda row: row.shared)


def _effective(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    leaves = dict(_leaves(training))
    for name, value in leaves.items():
        other, needed = _ONLY_WITH.get(name, (name, value))
        if leaves.get(other) == needed:
            yield name, value


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

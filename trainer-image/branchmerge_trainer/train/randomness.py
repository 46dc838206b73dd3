"""Torch's random numbers, which dropout draws from. The order of the data has seeds of its own."""

from __future__ import annotations

from pathlib import Path

import torch

from branchmerge_trainer.train.ranks import Ranks


def seed_randomness(seed: int, ranks: Ranks) -> None:
    """Begin; each rank has numbers of its own."""
    torch.manual_seed(seed + ranks.rank)


def save_randomness(folder: Path, ranks: Ranks) -> None:
    """Write this rank's state."""
    state = {"cpu": torch.get_rng_state()}
    if ranks.device.type == "cuda":
        state["device"] = torch.cuda.get_rng_state(ranks.device)
    with _file(folder, ranks).open("wb") as file:
        torch.save(state, file)


def load_randomness(folder: Path, ranks: Ranks) -> None:
    """Read this rank's state. A rank that was not there when it was written keeps its seed."""
    if not _file(folder, ranks).exists():
        return
    state = torch.load(_file(folder, ranks), weights_only=True)
    torch.set_rng_state(state["cpu"])
    if "device" in state and ranks.device.type == "cuda":
        torch.cuda.set_rng_state(state["device"], ranks.device)


def _file(folder: Path, ranks: Ranks) -> Path:
    return folder / f"random-{ranks.rank}.pt"

"""This process among those that train together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

_PATIENCE = timedelta(hours=1)
"""How long a rank waits for another in one operation. A large checkpoint is written while the others wait."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process, as torchrun's agent tells it. A lone process needs no process group."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Ranks:
        """Read `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; the device is this rank's accelerator, or the CPU."""
        device = torch.device("cpu")
        if torch.accelerator.is_available() and (accelerator := torch.accelerator.current_accelerator()):
            device = torch.device(accelerator.type, int(environ.get("LOCAL_RANK", "0")))
            torch.accelerator.set_device_index(device)
        return cls(int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1")), device)

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def join(self) -> None:
        """Form the process group of all ranks; it is left when the process ends."""
        if not distributed.is_initialized():
            backend = distributed.get_default_backend_for_device(self.device)
            device = None if self.device.type == "cpu" else self.device
            distributed.init_process_group(backend, timeout=_PATIENCE, device_id=device)

    def total(self, *values: float) -> list[float]:
        """The sums of the values over all ranks; each rank gets them."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()

    def wait(self) -> None:
        """Go on when all ranks are here."""
        self.total(0.0)

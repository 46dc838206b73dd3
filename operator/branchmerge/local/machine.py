"""What this machine has: cores, memory and accelerators, within the limits that were set for this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Machine:
    """What may be used."""

    cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    """Names for CUDA_VISIBLE_DEVICES."""

    @classmethod
    def detect(cls) -> Machine:
        """This machine, within CPU affinity, cgroup limits and CUDA_VISIBLE_DEVICES."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        quotas = [quota for folder in _cgroups("cpu") if (quota := _cpu_quota(folder))]
        limits = [limit for folder in _cgroups("memory") if (limit := _memory_limit(folder))]
        return cls(
            cores=max(1, int(min([cores, *quotas]))),
            memory_bytes=min([psutil.virtual_memory().total, *limits]),
            gpus=_visible_gpus(os.environ, Path("/dev")),
        )


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process for want of memory: in this cgroup where it counts, else anywhere."""
    own = list(_cgroups("memory"))
    files = [folder / name for folder in own for name in ("memory.events", "memory.oom_control")]
    for file in (*files, Path("/proc/vmstat")):
        if found := re.search(r"^oom_kill (\d+)$", _text(file), re.MULTILINE):
            return int(found[1])
    return 0


def _cgroups(controller: str) -> Iterator[Path]:
    """This process's cgroup and all above it, in the unified hierarchy and in the controller's own (version 1).

    A container may not see its own path; then only the root is there, which is the container's cgroup. What is not
    there reads as empty.
    """
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controllers
        folder = root / path.lstrip("/")
        yield from (folder, *(parent for parent in folder.parents if parent.is_relative_to(root)))


def _cpu_quota(folder: Path) -> float | None:
    """Cores that a cgroup may use, None for no limit. `cpu.max` (version 2) is `quota period` in microseconds."""
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _memory_limit(folder: Path) -> int | None:
    text = (_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).strip()
    return int(text) if text.isdigit() else None


def _visible_gpus(environ: Mapping[str, str], devices: Path) -> tuple[str, ...]:
    if _VISIBLE_DEVICES in environ:
        return tuple(name.strip() for name in environ[_VISIBLE_DEVICES].split(",") if name.strip())
    return tuple(str(number) for number in sorted(int(path.name[6:]) for path in devices.glob("nvidia[0-9]*")))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

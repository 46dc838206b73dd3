"""What this machine gives, within the limits that were set."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from branchmerge.local import machine
from branchmerge.local.machine import Machine


def test_cores_follow_the_affinity_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert Machine.detect().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_memory_is_no_more_than_there_is() -> None:
    assert 0 < Machine.detect().memory_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        pytest.param({"cpu.max": "150000 100000\n", "memory.max": "1048576\n"}, 1.5, 1 << 20, id="version 2"),
        pytest.param({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None, id="version 2 without limits"),
        pytest.param(
            {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000", "memory.limit_in_bytes": "77"},
            2.0,
            77,
            id="version 1",
        ),
        pytest.param({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None, None, id="version 1, unlimited"),
        pytest.param({}, None, None, id="nothing there"),
    ],
)
def test_limits_of_a_cgroup(tmp_path: Path, files: dict[str, str], cores: float | None, memory: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine._cpu_quota(tmp_path) == cores
    assert machine._memory_limit(tmp_path) == memory


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        pytest.param({}, ("0", "1", "10"), id="all that the machine has"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "1, 3"}, ("1", "3"), id="those that the user lends"),
        pytest.param({"CUDA_VISIBLE_DEVICES": ""}, (), id="none"),
    ],
)
def test_accelerators(tmp_path: Path, environ: dict[str, str], gpus: tuple[str, ...]) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert machine._visible_gpus(environ, tmp_path) == gpus

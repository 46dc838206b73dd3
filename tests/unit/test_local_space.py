"""How much disk a job needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchmerge.local.models import ModelFacts
from branchmerge.local.space import _OTHER_BYTES, bytes_needed, space_problem
from builders import make_job

MODEL = ModelFacts(parameters=1_000_000_000, bytes=2_000_000_000)


@pytest.mark.parametrize(
    ("missing", "parallel", "gigabytes"),
    [
        pytest.param([], 2, 0, id="all is there"),
        pytest.param(["merge/final"], 2, 2, id="one merge"),
        pytest.param(["train/math"], 2, 2 + 3 * 14, id="one branch, two checkpoints kept and one being written"),
        pytest.param(["train/math", "train/coding"], 1, 2 * 2 + 3 * 14, id="two branches, one after the other"),
        pytest.param(["train/math", "train/coding"], 2, 2 * 2 + 2 * 3 * 14, id="two branches at a time"),
    ],
)
def test_what_is_missing_needs_room(missing: list[str], parallel: int, gigabytes: int) -> None:
    needed = bytes_needed(make_job().spec, missing, MODEL, parallel)
    assert needed - _OTHER_BYTES == gigabytes * 10**9


def test_a_disk_that_is_too_small_is_refused_with_figures(tmp_path: Path) -> None:
    assert space_problem(tmp_path, 1 << 20) is None
    problem = space_problem(tmp_path, 1 << 60)
    assert problem is not None
    assert f"{tmp_path}: the job needs about" in problem
    assert "GiB are free" in problem


def test_unfinished_work_that_is_there_needs_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "stages/train/math/0123456789abcdef.work/checkpoint-5/weights"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(1000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 50})())
    assert space_problem(tmp_path, 1050) is None
    assert space_problem(tmp_path, 1051) is not None

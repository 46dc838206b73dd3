"""A run that was killed or stopped goes on as if nothing had happened: bit by bit the same curve and weights."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from branchmerge.api.stage import StageConfig
from ranks import started, train
from tinymodels import make_model
from training import Bench, history, sums, tensors

STEPS = 30
RUN: Mapping[str, Any] = {
    "maxSteps": STEPS,
    "schedule": {"type": "cosine", "warmupRatio": 0.2},
    "packing": {"strategy": "BestFit"},
    "sequenceLength": 64,
    "checkpoint": {"everySteps": 4, "keep": 2, "gracePeriodSeconds": 30},
}
REPLAY = (0.25, ["coding"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A student with dropout, so that random numbers matter, and two branches."""
    bench = Bench(tmp_path_factory.mktemp("bench"), model=make_model(attention_dropout=0.1))
    bench.rows("coding", sums(30, offset=100))
    return bench


def config(bench: Bench, name: str, **changes: Any) -> StageConfig:
    return bench.config(name, replay=REPLAY, **(dict(RUN) | changes))


@pytest.fixture(scope="module")
def unkilled(bench: Bench) -> dict[int, Path]:
    """World size -> output of a run that nothing happened to."""
    outputs = {}
    for world in (1, 2):
        name = f"unkilled-{world}"
        train(bench.root, config(bench, name), world)
        outputs[world] = bench.output(name)
    return outputs


def checkpoint(bench: Bench, name: str, step: int) -> Path:
    return bench.root / f"{config(bench, name).work}" / "checkpoints" / f"step-{step}"


def assert_same_run(found: Path, expected: Path) -> None:
    assert history(found) == history(expected)
    assert [record["step"] for record in history(found)] == list(range(1, len(history(expected)) + 1))
    ours, theirs = tensors(found), tensors(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("steps", [(4,), (8, 12, 20), (24,)])
def test_killed_after_a_checkpoint(bench: Bench, unkilled: dict[int, Path], world: int, steps: tuple[int, ...]) -> None:
    name = f"killed-{world}-{'-'.join(map(str, steps))}"
    for attempt, step in enumerate(steps, start=1):
        with started(bench.root, config(bench, name, attempt=attempt), world) as ranks:
            ranks.until(checkpoint(bench, name, step).exists)
            ranks.send(signal.SIGKILL)
    train(bench.root, config(bench, name, attempt=len(steps) + 1), world)
    assert_same_run(bench.output(name), unkilled[world])
    assert not (bench.root / config(bench, name).work).exists(), "what is finished needs no checkpoints"


def test_one_rank_of_two_is_killed(bench: Bench, unkilled: dict[int, Path]) -> None:
    name = "half-killed"
    with started(bench.root, config(bench, name), 2) as ranks:
        ranks.until(checkpoint(bench, name, 8).exists)
        ranks.send(signal.SIGKILL, to=1)
        assert ranks.exit_codes()[0] != 0, "the other cannot go on alone"
    train(bench.root, config(bench, name, attempt=2), 2)
    assert_same_run(bench.output(name), unkilled[2])


@pytest.mark.parametrize("world", [1, 2])
def test_stopped_ranks_agree_on_a_step_save_it_and_say_so(bench: Bench, unkilled: dict[int, Path], world: int) -> None:
    name = f"stopped-{world}"
    never = {"checkpoint": {"everySteps": 1000, "gracePeriodSeconds": 30}}
    with started(bench.root, config(bench, name, **never), world) as ranks:
        ranks.until(lambda: (steps_done(bench) or 0) > 0)
        ranks.send(signal.SIGTERM, to=world - 1)
        assert ranks.exit_codes() == [143] * world
        messages = {ranks.outcome(number).message for number in range(world)}
    (saved,) = checkpoint(bench, name, 0).parent.iterdir()
    assert messages == {f"stopped after step {saved.name.removeprefix('step-')} of {STEPS}; its checkpoint is kept"}
    train(bench.root, config(bench, name, attempt=2, **never), world)
    assert_same_run(bench.output(name), unkilled[world])


def steps_done(bench: Bench) -> int | None:
    try:
        progress = json.loads((bench.root / "progress.json").read_bytes())
    except FileNotFoundError:
        return None
    return progress.get("step") if progress["phase"] == "training" else None


def damage_marker(folder: Path) -> None:
    (folder / "complete.json").unlink()


def damage_length(folder: Path) -> None:
    state = (folder / "state.pt").read_bytes()
    (folder / "state.pt").write_bytes(state[: len(state) // 2])


def damage_part(folder: Path) -> None:
    (folder / "random-0.pt").unlink()


@pytest.mark.parametrize("damage", [damage_marker, damage_length, damage_part])
def test_a_damaged_checkpoint_is_passed_over(bench: Bench, unkilled: dict[int, Path], damage: Any) -> None:
    name = damage.__name__
    with started(bench.root, config(bench, name)) as ranks:
        ranks.until(checkpoint(bench, name, 12).exists)
        ranks.kill()
    folders = sorted(checkpoint(bench, name, 0).parent.glob("step-*[0-9]"), key=lambda path: int(path.name[5:]))
    damage(folders[-1])
    log = train(bench.root, config(bench, name, attempt=2))
    assert f"checkpoint of {folders[-1].name.replace('-', ' ')} is damaged" in log
    assert f"training from step {folders[-2].name[5:]} to {STEPS}" in log
    assert_same_run(bench.output(name), unkilled[1])


def test_only_the_newest_checkpoints_are_kept(bench: Bench) -> None:
    name = "kept"
    with started(bench.root, config(bench, name)) as ranks:
        ranks.until(checkpoint(bench, name, 24).exists)
        ranks.kill()
    folders = {path.name for path in checkpoint(bench, name, 0).parent.iterdir() if "partial" not in path.name}
    assert len(folders) <= 3, "one more while the oldest is being removed"
    assert "step-24" in folders


def test_another_number_of_ranks_goes_on_with_the_curve(bench: Bench, unkilled: dict[int, Path]) -> None:
    name = "fewer"
    plain = {"maxSteps": STEPS}
    with started(bench.root, config(bench, name, **plain), 2) as ranks:
        ranks.until(checkpoint(bench, name, 12).exists)
        ranks.kill()
    train(bench.root, config(bench, name, attempt=2, **plain), 1)
    ours, theirs = history(bench.output(name)), history(unkilled[2])
    assert [record["loss"] for record in ours] == pytest.approx([record["loss"] for record in theirs], rel=0.02)


def test_a_smaller_micro_batch_goes_on_with_the_curve(bench: Bench, unkilled: dict[int, Path]) -> None:
    name = "smaller"
    with started(bench.root, config(bench, name)) as ranks:
        ranks.until(checkpoint(bench, name, 12).exists)
        ranks.kill()
    train(bench.root, config(bench, name, attempt=2, microBatchSize=2))
    ours, theirs = history(bench.output(name)), history(unkilled[1])
    assert [record["loss"] for record in ours] == pytest.approx([record["loss"] for record in theirs], rel=0.02)


def test_rows_are_encoded_once(bench: Bench) -> None:
    name = "encoded-once"
    with started(bench.root, config(bench, name)) as ranks:
        ranks.until(checkpoint(bench, name, 4).exists)
        ranks.kill()
    hidden = bench.root / "rows" / "hidden"
    shutil.move(bench.root / "rows" / "math", hidden)
    try:
        train(bench.root, config(bench, name, attempt=2))
    finally:
        shutil.move(hidden, bench.root / "rows" / "math")

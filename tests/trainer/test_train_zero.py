"""DeepSpeed: every ZeRO stage computes what one process does, keeps fp32, and resumes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from branchmerge.api.stage import StageConfig
from ranks import started, train
from tinymodels import make_model
from training import Bench, history, losses, tensors

STEPS = 14
RUN: Mapping[str, Any] = {
    "maxSteps": STEPS,
    "schedule": {"type": "linear", "warmupRatio": 0.2},
    "microBatchSize": 2,
    "optimizer": {"weightDecay": 0.1},
    "checkpoint": {"everySteps": 4},
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def alone(bench: Bench) -> Path:
    """The output of one process without DeepSpeed."""
    return bench.train("alone", **RUN)


def config(bench: Bench, name: str, stage: int, **changes: Any) -> StageConfig:
    return bench.config(name, parallelism={"strategy": "DeepSpeed", "zeroStage": stage}, **(dict(RUN) | changes))


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_ranks_learn_what_one_process_does(bench: Bench, alone: Path, stage: int) -> None:
    name = f"zero-{stage}"
    train(bench.root, config(bench, name, stage), 2)
    found, expected = history(bench.output(name)), history(alone)
    for field in ("loss", "grad_norm", "learning_rate", "tokens"):
        assert [record[field] for record in found] == pytest.approx([record[field] for record in expected], rel=1e-4)
    ours, theirs = tensors(bench.output(name)), tensors(alone)
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, atol=1e-4, rtol=1e-4)


def test_a_killed_run_goes_on_bit_by_bit(bench: Bench) -> None:
    for name, attempt in (("unkilled", 1), ("killed", 2)):
        if attempt > 1:
            kill_after(bench, config(bench, name, 3), 8, world=2)
        log = train(bench.root, config(bench, name, 3, attempt=attempt), 2)
        assert ("training from step 0" in log) == (attempt == 1)
    killed, unkilled = bench.output("killed"), bench.output("unkilled")
    assert history(killed) == history(unkilled)
    ours, theirs = tensors(killed), tensors(unkilled)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("stage", "before", "after"), [(0, 2, 1), (2, 2, 1), (3, 1, 2)])
def test_another_number_of_ranks_goes_on_with_the_curve(
    bench: Bench, alone: Path, stage: int, before: int, after: int
) -> None:
    name = f"from-{before}-to-{after}-{stage}"
    kill_after(bench, config(bench, name, stage), 8, world=before)
    log = train(bench.root, config(bench, name, stage, attempt=2), after)
    assert "training from step 0" not in log
    assert losses(bench.output(name)) == pytest.approx(losses(alone), rel=1e-4)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_master_weights_and_optimizer_states_are_fp32_when_a_bf16_student_computes_in_bf16(
    tmp_path: Path, stage: int
) -> None:
    bench = Bench(tmp_path, dtype=torch.bfloat16)
    attempt = config(bench, "half", stage, precision={"compute": "bfloat16"})
    kill_after(bench, attempt, 4, world=2)
    files = list((tmp_path / attempt.work / "checkpoints" / "step-4").rglob("*_states.pt"))
    states = [torch.load(file, map_location="cpu", weights_only=False) for file in files]
    kept = [tensor for state in states for tensor in floats(state)]
    parameters = sum(parameter.numel() for parameter in make_model().parameters())
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    assert sum(tensor.numel() for tensor in kept) >= 3 * parameters, "weights and two moments"


def floats(state: Any) -> Iterator[torch.Tensor]:
    """All floating-point tensors of a nested state."""
    if isinstance(state, torch.Tensor):
        if state.is_floating_point():
            yield state
    elif isinstance(state, Mapping):
        yield from floats(list(state.values()))
    elif isinstance(state, list | tuple):
        for entry in state:
            yield from floats(entry)


def kill_after(bench: Bench, attempt: StageConfig, step: int, *, world: int) -> None:
    with started(bench.root, attempt, world) as ranks:
        ranks.until((bench.root / attempt.work / "checkpoints" / f"step-{step}").exists)
        ranks.send(signal.SIGKILL)

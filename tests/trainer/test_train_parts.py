"""The parts of the training that are functions of their arguments: schedule, packing, mixture, order, shape."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from branchmerge.api.errors import InputError
from branchmerge.api.training import PackingStrategy, Schedule, Training
from branchmerge_trainer.train.mixture import OWN, Mixture
from branchmerge_trainer.train.packing import best_fit_decreasing
from branchmerge_trainer.train.schedule import learning_rate
from branchmerge_trainer.train.shape import BatchShape, count_steps
from branchmerge_trainer.train.stream import Stream


def schedule(**fields: Any) -> Schedule:
    return Schedule.model_validate(fields)


@pytest.mark.parametrize(
    ("chosen", "specific"),
    [
        pytest.param(schedule(type="constant"), {}, id="constant"),
        pytest.param(schedule(type="constant_with_warmup", warmupRatio=0.13), {}, id="constant-after-warm-up"),
        pytest.param(schedule(type="linear", warmupRatio=0.1), {}, id="linear"),
        pytest.param(schedule(type="cosine"), {}, id="cosine-without-warm-up"),
        pytest.param(schedule(type="cosine", warmupRatio=0.25), {}, id="cosine"),
        pytest.param(
            schedule(type="cosine_with_min_lr", warmupRatio=0.075, minRateRatio=0.2),
            {"min_lr_rate": 0.2},
            id="cosine-that-ends-at-a-fifth",
        ),
        pytest.param(schedule(type="linear", warmupRatio=1.0), {}, id="nothing-but-warm-up"),
    ],
)
def test_rates_are_those_of_transformers_schedule_of_that_name(chosen: Schedule, specific: dict[str, float]) -> None:
    steps, peak = 40, 3e-4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = get_scheduler(
        str(chosen.type),
        optimizer,
        num_warmup_steps=int(np.ceil(chosen.warmup_ratio * steps)),
        num_training_steps=steps,
        scheduler_specific_kwargs=specific,
    )
    for step in range(steps):
        assert learning_rate(chosen, peak, step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12), step
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        pytest.param([6, 4], [[0, 1]], id="two-that-fill-a-pack"),
        pytest.param([7, 4], [[0], [1]], id="two-that-do-not-fit"),
        pytest.param([5, 6, 4, 3], [[1, 2], [0, 3]], id="the-tightest-fit-is-taken"),
        pytest.param([10, 10, 1], [[0], [1], [2]], id="full-packs-stay-closed"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_packs_by_best_fit_decreasing(lengths: list[int], expected: list[list[int]]) -> None:
    assert best_fit_decreasing(lengths, 10) == expected


@given(st.lists(st.integers(1, 50), max_size=200), st.randoms())
def test_every_sequence_is_packed_once_and_no_pack_overflows(lengths: list[int], random: Any) -> None:
    packs = best_fit_decreasing(lengths, 50)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    loads = sorted(sum(lengths[index] for index in pack) for pack in packs)
    assert all(load <= 50 for load in loads)
    assert len(loads) < 2 or loads[0] + loads[1] > 50, "two packs could have been one"
    random.shuffle(lengths)
    assert len(best_fit_decreasing(lengths, 50)) == len(packs), "the order of equal lengths does not matter"


@pytest.mark.parametrize(
    ("batch", "fraction", "others", "expected"),
    [
        pytest.param(64, 0.25, 2, (48, 16), id="a-quarter"),
        pytest.param(10, 0.25, 1, (7, 3), id="a-half-is-rounded-up"),
        pytest.param(8, 0.01, 3, (7, 1), id="at-least-one"),
        pytest.param(8, 0.99, 1, (1, 7), id="the-branch-keeps-one"),
        pytest.param(8, 0.0, 0, (8, 0), id="no-replay"),
    ],
)
def test_replay_takes_its_share_of_each_batch(
    batch: int, fraction: float, others: int, expected: tuple[int, int]
) -> None:
    mixture = Mixture.of(batch, fraction, others)
    assert (mixture.own, mixture.replayed) == expected
    draws = mixture.draws(5)
    assert len(draws) == batch
    assert sum(draw.source == OWN for draw in draws) == expected[0]


def test_replayed_branches_share_equally_and_each_goes_on_where_it_was() -> None:
    mixture = Mixture.of(8, 0.5, 3)
    positions: dict[int, list[int]] = {source: [] for source in range(4)}
    for step in range(6):
        for draw in mixture.draws(step):
            positions[draw.source].append(draw.position)
    assert {source: len(drawn) for source, drawn in positions.items()} == {0: 24, 1: 8, 2: 8, 3: 8}
    assert all(drawn == list(range(len(drawn))) for drawn in positions.values())


def test_replay_needs_room_in_the_batch() -> None:
    with pytest.raises(InputError, match=r"replay\.fraction: 0\.5.*globalBatchSize to 2"):
        Mixture.of(1, 0.5, 1)


def stream(lengths: list[int], strategy: PackingStrategy, seed: int = 1, source: int = 0) -> Stream:
    return Stream(np.asarray(lengths), strategy, 10, seed=seed, source=source)


@pytest.mark.parametrize("strategy", list(PackingStrategy))
def test_each_pass_learns_every_sequence_once_in_an_order_of_its_own(strategy: PackingStrategy) -> None:
    lengths = [1 + number % 7 for number in range(30)]
    order = stream(lengths, strategy)
    passes = [[order.at(number * order.packs + place) for place in range(order.packs)] for number in range(3)]
    for packs in passes:
        assert Counter(index for pack in packs for index in pack) == Counter(range(30))
    assert passes[0] != passes[1] != passes[2]


def test_any_position_of_a_stream_is_the_same_without_those_before_it() -> None:
    lengths = [1 + number % 7 for number in range(30)]
    first = [stream(lengths, PackingStrategy.BEST_FIT).at(position) for position in range(40)]
    assert [stream(lengths, PackingStrategy.BEST_FIT).at(position) for position in reversed(range(40))] == first[::-1]
    assert [stream(lengths, PackingStrategy.BEST_FIT, seed=2).at(position) for position in range(40)] != first
    assert [stream(lengths, PackingStrategy.BEST_FIT, source=1).at(position) for position in range(40)] != first


@pytest.mark.parametrize(
    ("ranks", "micro", "accumulation"), [pytest.param(1, 8, 1), pytest.param(2, 2, 2), pytest.param(4, 1, 2)]
)
def test_accumulation_follows_from_the_global_batch(ranks: int, micro: int, accumulation: int) -> None:
    training = Training.model_validate({"globalBatchSize": 8, "microBatchSize": micro})
    shape = BatchShape.of(training, ranks)
    assert (shape.accumulation, shape.sequences) == (accumulation, 8)


def test_a_global_batch_that_cannot_be_divided_is_refused() -> None:
    training = Training.model_validate({"globalBatchSize": 10, "microBatchSize": 2})
    with pytest.raises(
        InputError, match=r"globalBatchSize: 10 is no multiple of 4 .microBatchSize 2 x 2 ranks.*use 8 or 12"
    ):
        BatchShape.of(training, 2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"maxSteps": 7}, 7, id="as-many-as-told"),
        pytest.param({"epochs": 2}, 20, id="two-passes"),
        pytest.param({"epochs": 0.25}, 3, id="a-part-is-rounded-up"),
        pytest.param({}, 30, id="three-passes-by-default"),
    ],
)
def test_number_of_steps(settings: dict[str, Any], expected: int) -> None:
    assert count_steps(Training.model_validate(settings), packs=100, packs_a_step=10) == expected

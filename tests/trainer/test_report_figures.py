"""Figures and the rows behind them."""

from __future__ import annotations

import re

import pytest

from branchmerge.api.stage import StageResult
from branchmerge_trainer.merge.tensors import TensorChange
from branchmerge_trainer.report.facts import Branch, Merge, Stage
from branchmerge_trainer.report.plots.curves import curves, smoothed
from branchmerge_trainer.report.plots.rows import axis, bar, interval, strip, strip_axis
from branchmerge_trainer.report.plots.scale import Scale, fitting, linear, logarithmic
from branchmerge_trainer.report.rows.cost import duration
from branchmerge_trainer.report.rows.merge import density
from branchmerge_trainer.report.rows.settings import settings
from builders import at

HOSTILE = '"><script>'


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.31, 0.38], [0.3, 0.32, 0.34, 0.36, 0.38]),
        ([-0.03, 0.07], [-0.04, -0.02, 0, 0.02, 0.04, 0.06, 0.08]),
        ([0.0, 940.0], [0, 200, 400, 600, 800, 1000]),
        ([5.0], [5, 6]),
        ([0.0], [0, 0.2]),
    ],
    ids=["0 to 1", "narrow", "around zero", "large", "one value", "only zero"],
)
def test_ticks_are_round_and_hold_every_value(values: list[float], ticks: list[float]) -> None:
    assert linear(values).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0.03, 0.6], [0.02, 0.05, 0.1, 0.2, 0.5, 1]), ([1.0, 10.0], [1, 2, 5, 10]), ([3e-9, 4e-9], [2e-9, 5e-9])],
)
def test_logarithmic_ticks_hold_every_value(values: list[float], ticks: list[float]) -> None:
    assert logarithmic(values).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("losses", "is_logarithmic"),
    [([2.0, 0.05], True), ([1.2, 0.8], False), ([2.0, 0.0], False)],
    ids=["far apart", "close together", "down to zero"],
)
def test_losses_far_apart_have_a_logarithmic_axis(losses: list[float], is_logarithmic: bool) -> None:
    scale = fitting(losses)
    assert scale.logarithmic is is_logarithmic
    assert is_logarithmic or scale.ticks[0] == 0


def test_places_on_an_axis() -> None:
    assert [linear([0, 1])(value) for value in (-1, 0, 0.25, 1, 2)] == [0, 0, 0.25, 1, 1]
    assert [Scale((1, 10, 100), logarithmic=True)(value) for value in (0, 1, 10, 100)] == pytest.approx([0, 0, 0.5, 1])


def test_an_interval_lies_where_its_figures_are() -> None:
    svg = interval(linear([0, 1]), 0.25, 0.5, 0.75, tone="merged", reference=0.1)
    assert '<line class="whisker" x1="25.00%" x2="75.00%"' in svg
    assert '<circle class="dot" cx="50.00%"' in svg
    assert '<line class="reference" x1="10.00%"' in svg


def test_on_a_small_screen_zero_keeps_its_number() -> None:
    labels = re.findall(r'<text class="(tick minor|tick)"[^>]*>([^<]+)</text>', axis(linear([-0.05, 0.3]), signed=True))
    assert labels == [
        ("tick minor", "−0.1"),
        ("tick", "0"),
        ("tick minor", "+0.1"),
        ("tick", "+0.2"),
        ("tick minor", "+0.3"),
    ]


def test_bars_lie_side_by_side() -> None:
    svg = bar([("useful", 0.5), ("lost", 0.25)])
    assert '<rect class="useful" x="0.00%" width="50.00%"' in svg
    assert '<rect class="lost" x="50.00%" width="25.00%"' in svg


def test_strips_are_darkest_where_most_has_changed_and_empty_where_nothing_is() -> None:
    svg = strip("q", [0.0, None, 0.2, 0.4], 0.4)
    assert re.findall(r'x="([\d.]+)%".*?fill-opacity="([\d.]+)"', svg) == [
        ("0.00", "0.050"),
        ("50.00", "0.500"),
        ("75.00", "1.000"),
    ]


def test_many_layers_have_few_numbers() -> None:
    shown = re.findall(r">(\d+)<", strip_axis([str(layer) for layer in range(64)]))
    assert shown == ["0", "8", "16", "24", "32", "40", "48", "56"]


def test_names_are_never_markup() -> None:
    svg = strip(HOSTILE, [1.0], 1.0) + strip_axis([HOSTILE]) + curves(HOSTILE, {HOSTILE: [(1, 1.0)]})
    assert "<script" not in svg


def test_smoothing_keeps_a_constant_and_does_not_lag() -> None:
    assert smoothed([3.0] * 50) == pytest.approx([3.0] * 50)
    assert smoothed([4.0]) == [4.0]
    line = [float(step) for step in range(200)]
    assert smoothed(line) == pytest.approx(line)
    assert smoothed([0.0, 1.0] * 100)[90:110] == pytest.approx([0.5] * 20, abs=0.05)


def test_curves_of_very_long_runs_stay_small_and_keep_their_spikes() -> None:
    run = [(step, 1.0) for step in range(1, 100_001)]
    run[54_321] = (54_322, 4.5)
    svg = curves("loss", {"math": run})
    assert len(svg) < 30_000
    [raw] = re.findall(r'class="raw series-0" points="([^"]+)"', svg)
    assert min(float(point.split(",")[1]) for point in raw.split()) == pytest.approx(100)  # 4.5 on an axis up to 5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (2.74, "2.7 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations_are_told_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def stage(ingredients: dict[str, object]) -> Stage:
    result = StageResult(stage="s", fingerprint="f", digest="d", started_at=at(0), finished_at=at(1))
    return Stage(result, ingredients)


def test_density_by_kind_and_layer() -> None:
    tensors = [
        TensorChange("lm_head.weight", 50, 0.2),
        TensorChange("model.layers.0.mlp.experts.0.up_proj.weight", 10, 0.0),
        TensorChange("model.layers.0.mlp.experts.1.up_proj.weight", 30, 0.4),
        TensorChange("model.layers.2.mlp.experts.0.up_proj.weight", 10, 1.0),
        TensorChange("model.layers.2.self_attn.q_proj.bias", 0, 0.0),
    ]
    step = {"method": "ties", "models": ["a", "b"], "weights": [1.0, 0.5], "parameters": {"density": 0.2}}
    found = density(Merge("final", stage({"step": step}), tensors))

    assert [(kind.name, kind.layers, kind.changed) for kind in found.kinds] == [
        ("lm_head", (), pytest.approx(0.2)),
        ("mlp.experts.up_proj", (pytest.approx(0.3), None, pytest.approx(1.0)), pytest.approx(0.44)),
        ("self_attn.q_proj.bias", (None, None, 0.0), 0.0),
    ]
    assert found.changed == pytest.approx(0.32)
    assert (found.layers, found.highest, found.even) == (3, 1.0, False)
    assert (found.reference, found.has_base) == ("a", False)
    assert found.options == "weights [1.0, 0.5], density 0.2"


def test_settings_without_effect_are_left_out_and_those_that_differ_come_first() -> None:
    trainings = [
        {"seed": 42, "parallelism": {"strategy": "DDP", "zeroStage": 3}, "optimizer": {"betas": [0.9, 0.95]}},
        {"seed": 43, "parallelism": {"strategy": "DDP", "zeroStage": 3}, "optimizer": {"betas": [0.9, 0.95]}},
    ]
    branches = [Branch(str(i), stage({}), stage({"training": each}), []) for i, each in enumerate(trainings)]
    assert [(row.name, row.values, row.shared) for row in settings(branches)] == [
        ("seed", ("42", "43"), False),
        ("parallelism.strategy", ("DDP", "DDP"), True),
        ("optimizer.betas", ("0.9, 0.95", "0.9, 0.95"), True),
    ]


def test_a_strip_of_nothing_is_drawn() -> None:
    assert strip("q", [0.0, None, 0.0], 0.0).count("<rect") == 2

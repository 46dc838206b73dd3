"""Every merge method on real models; where a formula is short, against that formula written out here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from branchmerge.api.merge import MergeMethod
from merging import SPECIALISTS, assert_close, make_family, merge, task, tensors
from tinymodels import make_tokenizer


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.mark.parametrize("method", [method.value for method in MergeMethod])
def test_every_method_makes_a_model_that_loads_and_differs_from_its_base(
    family: Path, tmp_path: Path, method: str
) -> None:
    findings = merge(family, tmp_path / "out", task(method))
    model, notes = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(notes.values()), notes
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert 0 < findings.figures["density"] <= 1
    assert model(torch.tensor([[5, 6, 7]])).logits.shape == (1, 3, len(make_tokenizer()))


def fuse(base: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Arcee Fusion as its description has it, in NumPy-like steps and without mergekit."""
    importance = torch.empty_like(base)
    rows_b, rows_o, out = (
        base.reshape(-1, base.shape[-1]),
        other.reshape(-1, base.shape[-1]),
        importance.view(-1, base.shape[-1]),
    )
    for row, (b, o) in enumerate(zip(rows_b, rows_o, strict=True)):
        p, q = torch.softmax(o, 0) + 1e-8, torch.softmax(b, 0) + 1e-8
        out[row] = (o - b).abs() * (p * (p / q).log()).sum()
    ordered = importance.flatten().sort().values
    first, median, third = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    return torch.where(importance >= median + 1.5 * (third - first), other, base)


def test_arcee_fusion_of_two_rows_worked_by_hand() -> None:
    """The reference itself: row 1 is equal in both, so it scores 0; of row 2 only the largest step stands out."""
    base = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    other = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.1, -0.1, 0.0, 4.0]])
    # S of row 1 is 0; S of row 2 is KL · (.1, .1, 0, 4). Sorted: 0 ×5, .1, .1, 4 (times KL). Indices 1, 3, 5 of 0..7:
    # Q1 = 0, median = 0, Q3 = .1 KL; threshold .15 KL: only the 4 lies above it.
    assert fuse(base, other).tolist() == [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 4.0]]


def test_arcee_fusion_is_its_formula(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("arcee_fusion"))
    base, other = tensors(family / "coding"), tensors(family / "math")
    assert_close(tmp_path / "out", {name: fuse(base[name], other[name]) for name in base})


def test_linear_is_the_weighted_mean(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("linear"))
    one, two, five = (tensors(family / name) for name in SPECIALISTS)
    assert_close(tmp_path / "out", {name: (one[name] + 2 * two[name] + 5 * five[name]) / 8 for name in one})


def test_weights_are_one_each_unless_given(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("linear", models=["math", "student"]))
    math, student = tensors(family / "math"), tensors(family / "student")
    assert_close(tmp_path / "out", {name: (math[name] + student[name]) / 2 for name in math})


def test_task_arithmetic_adds_weighted_differences_to_the_base(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("task_arithmetic"))
    base = tensors(family / "student")
    vectors = [(weight, tensors(family / name)) for name, weight in zip(SPECIALISTS, (0.2, 0.3, 0.4), strict=True)]
    expected = {name: w + 0.5 * sum(weight * (t[name] - w) for weight, t in vectors) for name, w in base.items()}
    assert_close(tmp_path / "out", expected)


def test_slerp_goes_along_the_great_circle(family: Path, tmp_path: Path) -> None:
    merge(family, tmp_path / "out", task("slerp"))

    def slerp(a: torch.Tensor, b: torch.Tensor, t: float = 0.3) -> torch.Tensor:
        cosine = torch.dot(a.flatten().double(), b.flatten().double()) / (a.double().norm() * b.double().norm())
        if cosine > 0.9995:  # mergekit's bound for interpolating on a line
            return (1 - t) * a + t * b
        angle = torch.acos(cosine)
        return ((torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)).float()

    base, other = tensors(family / "coding"), tensors(family / "math")
    assert_close(tmp_path / "out", {name: slerp(base[name], other[name]) for name in base}, tolerance=1e-5)


@pytest.mark.parametrize("method", ["dare_ties", "dare_linear", "della"])
def test_chance_is_ruled_by_the_seed(family: Path, tmp_path: Path, method: str) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        merge(family, tmp_path / folder, task(method, seed=seed))
    assert_close(tmp_path / "a", tensors(tmp_path / "b"), tolerance=0)
    assert any(not torch.equal(t, tensors(tmp_path / "c")[name]) for name, t in tensors(tmp_path / "a").items())


def test_the_samples_of_arcee_fusion_in_large_tensors_are_ruled_by_the_seed(tmp_path: Path) -> None:
    """Above a million elements mergekit estimates the threshold from a random sample."""
    large = make_family(tmp_path / "in", num_hidden_layers=1, hidden_size=128, intermediate_size=8192)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        merge(large, tmp_path / folder, task("arcee_fusion", seed=seed))
    assert_close(tmp_path / "a", tensors(tmp_path / "b"), tolerance=0)
    assert any(not torch.equal(t, tensors(tmp_path / "c")[name]) for name, t in tensors(tmp_path / "a").items())


def test_weights_that_were_replaced_at_their_path_are_read_anew(tmp_path: Path) -> None:
    """mergekit keeps readers by path for the life of a process."""
    inputs = make_family(tmp_path / "in")
    merge(inputs, tmp_path / "before", task("linear", models=["math"]))
    make_family(tmp_path / "other", seed=7)
    (inputs / "math").rename(tmp_path / "gone")
    (tmp_path / "other/math").rename(inputs / "math")
    merge(inputs, tmp_path / "after", task("linear", models=["math"]))
    assert_close(tmp_path / "after", tensors(inputs / "math"))

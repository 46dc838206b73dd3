"""Loss and gradient are those of the rows, however they are packed, split into passes, or spread over ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from branchmerge_trainer.train.batching import StepBatch
from branchmerge_trainer.train.data import Data
from branchmerge_trainer.train.encoding import Encoded
from branchmerge_trainer.train.engine import loss_of
from branchmerge_trainer.train.layout import Layout, Piece
from branchmerge_trainer.train.model import load_model
from branchmerge_trainer.train.ranks import Ranks
from branchmerge_trainer.train.replicas import Replicas
from branchmerge_trainer.train.setting import Setting
from branchmerge_trainer.train.shape import BatchShape
from branchmerge_trainer.train.student import Student
from ranks import train
from tinymodels import FAMILIES, make_model, make_tokenizer
from training import Bench, history, sums, talk, tensors

NUMBERS = count()
MASKED, VARLEN = Layout(varlen=False, hidden=32), Layout(varlen=True, hidden=32)
CPU = torch.device("cpu")
PACKED: Mapping[str, Any] = {"packing": {"strategy": "BestFit"}, "sequenceLength": 96}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


class Prepared:
    """A run that stands before its first step."""

    def __init__(self, bench: Bench, *, world: int = 1, layout: Layout = MASKED, **changes: Any) -> None:
        self.config = bench.config(f"prepared-{next(NUMBERS)}", **changes)
        self.context = bench.context(self.config)
        training = self.config.task.training
        self.setting = Setting(training, BatchShape.of(training, world), Ranks(0, 1, CPU))
        self.student = Student.open(self.config.task.student, self.context.workspace)
        self.data = Data.prepare(self.config.task, self.setting.shape, self.student, self.context, 0)
        self.engine = Replicas(load_model(self.student, self.setting, MASKED), self.setting)
        self.batches = self.data.batches(layout)

    def loss(self, batches: Sequence[StepBatch]) -> float:
        """Loss of a step whose parts are these; the gradients stay in the engine."""
        passes = [(inputs, batch.trained_tokens) for batch in batches for inputs in batch.passes]
        return sum(float(self.engine.backward(inputs, tokens, last=True)) for inputs, tokens in passes)

    @property
    def gradients(self) -> dict[str, torch.Tensor]:
        return {name: parameter.grad for name, parameter in self.engine.model.named_parameters()}


def reference(prepared: Prepared, pieces: Sequence[Piece]) -> float:
    """Mean loss over the learned tokens, each sequence alone, computed from logits."""
    total = learned = 0.0
    for piece in pieces:
        tokens = torch.from_numpy(piece.tokens.astype("int64"))
        logits = prepared.engine.model(input_ids=tokens[None]).logits[0, :-1]
        mask = torch.from_numpy(piece.trained[1:].copy())
        total += cross_entropy(logits[mask], tokens[1:][mask], reduction="sum").item()
        learned += mask.sum().item()
    return total / learned


def pieces_of(prepared: Prepared, step: int) -> list[Piece]:
    """All sequences of a step, from the plan of its batch."""
    data = prepared.data
    packs = [(draw.source, data.streams[draw.source].at(draw.position)) for draw in data.mixture.draws(step)]
    return [piece for pack in packs for piece in prepared.batches.pieces(*pack)]


def assert_same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="unpacked"),
        pytest.param(PACKED, id="packed-taken-apart"),
        pytest.param(PACKED | {"layout": VARLEN}, id="packed-in-one-row"),
        pytest.param(PACKED | {"gradientCheckpointing": True}, id="with-gradient-checkpointing"),
        pytest.param({"lossOn": "All"}, id="on-all-tokens"),
    ],
)
@pytest.mark.parametrize("step", [0, 3])
def test_the_loss_of_a_step_is_that_of_its_rows_one_by_one(bench: Bench, changes: dict[str, Any], step: int) -> None:
    prepared = Prepared(bench, **changes)
    batch = prepared.batches.at(step, 0)
    pieces = pieces_of(prepared, step)
    assert prepared.loss([batch]) == pytest.approx(reference(prepared, pieces), rel=1e-5)
    assert batch.trained_tokens == sum(int(piece.trained.sum()) for piece in pieces)
    assert batch.tokens == sum(len(piece.tokens) for piece in pieces)


@pytest.mark.parametrize("packing", [pytest.param({}, id="unpacked"), pytest.param(PACKED, id="packed")])
@pytest.mark.parametrize(("world", "micro"), [(1, 4), (1, 2), (1, 1), (2, 2), (4, 2)])
def test_loss_and_gradient_do_not_depend_on_how_the_batch_is_split(
    bench: Bench, packing: dict[str, Any], world: int, micro: int
) -> None:
    whole = Prepared(bench, microBatchSize=8, **packing)
    split = Prepared(bench, microBatchSize=micro, world=world, **packing)
    parts = [split.batches.at(1, rank) for rank in range(world)]
    assert sum(len(part.passes) for part in parts) == 8 // micro
    assert split.loss(parts) == pytest.approx(whole.loss([whole.batches.at(1, 0)]), rel=1e-6)
    assert_same(split.gradients, whole.gradients, 1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_packed_rows_are_those_of_the_rows_alone(family: str) -> None:
    model = make_model(family)
    tokenizer = make_tokenizer()
    pieces = [piece(tokenizer, row) for row in sums(5)]
    gradients = {}
    for name, layout in {
        "alone": [MASKED.lay_out([[entry]]) for entry in pieces],
        "padded": [MASKED.lay_out([pieces[:2], pieces[2:]])],
        "packed": [VARLEN.lay_out([pieces])],
    }.items():
        model.zero_grad()
        for inputs in layout:
            loss_of(model, inputs, 100, CPU).backward()
        gradients[name] = {key: value.grad.clone() for key, value in model.named_parameters()}
    assert "position_ids" in VARLEN.lay_out([pieces])
    assert_same(gradients["padded"], gradients["alone"], 1e-6)
    assert_same(gradients["packed"], gradients["alone"], 1e-6)


def piece(tokenizer: Any, row: Any) -> Piece:
    tokens = tokenizer.apply_chat_template(row, tokenize=True, return_dict=False)
    encoded = Encoded(tokens, [(len(tokens) // 2, len(tokens))])
    return Piece(torch.tensor(tokens, dtype=torch.int32).numpy(), encoded.mask())


def test_packs_are_taken_apart_where_that_is_cheaper() -> None:
    tokenizer = make_tokenizer()
    short, long = piece(tokenizer, talk("a", "b")), piece(tokenizer, talk("a" * 60, "b"))
    small, large = Layout(varlen=False, hidden=4), Layout(varlen=False, hidden=1000)

    def rows(layout: Layout, *packs: list[Piece]) -> int:
        return layout.lay_out(packs)["input_ids"].shape[0]

    assert rows(MASKED, [long, short, short, short]) == 1, "else more than twice the places"
    assert rows(MASKED, [short, short], [short, short]) == 4
    assert rows(small, [long, long, short]) == 3, "a small model: attention is what costs"
    assert rows(large, [long, long, short]) == 1, "a large model: places are what costs"
    assert rows(VARLEN, [long, short], [short, short]) == 1


@pytest.mark.parametrize("packing", [pytest.param({}, id="unpacked"), pytest.param(PACKED, id="packed")])
def test_two_ranks_learn_what_one_does(bench: Bench, packing: dict[str, Any]) -> None:
    settings = {"microBatchSize": 2, **packing}
    name = f"ranks-{len(packing)}"
    alone = bench.train(f"{name}-1", **settings)
    train(bench.root, bench.config(f"{name}-2", **settings), 2)
    together = bench.output(f"{name}-2")
    for field in ("loss", "grad_norm", "learning_rate", "tokens"):
        expected = [record[field] for record in history(alone)]
        assert [record[field] for record in history(together)] == pytest.approx(expected, rel=1e-5)
    assert_same(tensors(together), tensors(alone), 1e-4)

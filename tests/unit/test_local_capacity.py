"""How many stages run at a time, and what each of them gets."""

from __future__ import annotations

import dataclasses

import pytest

from branchmerge.api.compute import Resources
from branchmerge.api.stage import StageKind
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Stage
from branchmerge.local.capacity import GIBIBYTE, Capacity, Demand, memory_bytes
from branchmerge.local.machine import Machine
from builders import make_job

LARGE = 1 << 40


def stage(name: str = "train/math", **resources: int) -> Stage:
    found = build_graph(make_job(), {}, {})[name]
    return dataclasses.replace(found, resources=Resources(**resources))


@pytest.mark.parametrize(
    ("machine", "branches", "parallel", "parameters", "slots", "cores"),
    [
        pytest.param(Machine(2, LARGE), 3, None, 0, 2, 1, id="two cores, three branches"),
        pytest.param(Machine(16, LARGE), 3, None, 0, 3, 5, id="more cores than branches: each gets several"),
        pytest.param(Machine(16, 3 * GIBIBYTE), 3, None, 70_000_000, 1, 16, id="memory for one"),
        pytest.param(Machine(1, 1), 3, None, 10**9, 1, 1, id="too small for anything: one all the same"),
        pytest.param(Machine(2, LARGE), 3, 4, 0, 4, 1, id="the user wants more than there are cores"),
        pytest.param(Machine(8, LARGE), 3, 2, None, 2, 4, id="the user wants fewer"),
    ],
)
def test_slots(
    machine: Machine, branches: int, parallel: int | None, parameters: int | None, slots: int, cores: int
) -> None:
    capacity = Capacity.of(machine, branches=branches, parallel=parallel, parameters=parameters)
    assert (capacity.parallel, capacity.slot_cores) == (slots, cores)
    held: list[Demand] = []
    while (demand := capacity.admit(stage("curate/math"), held)) and len(held) < 10:
        held.append(demand)
    assert len(held) == slots


@pytest.mark.parametrize(
    ("capacity", "held", "asked", "admitted"),
    [
        pytest.param(Capacity(Machine(4, LARGE), 4, None), [1, 1], {"processes_per_node": 2}, True, id="ranks fit"),
        pytest.param(Capacity(Machine(4, LARGE), 4, None), [1, 1, 1], {"processes_per_node": 2}, False, id="no core"),
        pytest.param(Capacity(Machine(2, LARGE), 2, None), [], {"nodes": 4}, True, id="alone it may be too large"),
        pytest.param(Capacity(Machine(2, LARGE), 2, None), [4], {}, False, id="beside one that is too large"),
    ],
)
def test_ranks_take_a_core_each(capacity: Capacity, held: list[int], asked: dict[str, int], admitted: bool) -> None:
    demands = [Demand(cores=cores, memory_bytes=0) for cores in held]
    demand = capacity.admit(stage(**asked), demands)
    assert (demand is not None) == admitted


def test_memory_keeps_a_stage_waiting_while_others_run() -> None:
    capacity = Capacity(Machine(8, 4 * GIBIBYTE), 8, parameters=100_000_000)
    first = capacity.admit(stage(), [])
    assert first is not None
    assert capacity.admit(stage(), [first]) is None


def test_accelerators_are_handed_out_and_waited_for() -> None:
    capacity = Capacity(Machine(8, LARGE, ("0", "1", "2")), 8, None)
    first = capacity.admit(stage(gpus_per_node=2), [])
    assert first is not None
    assert first.gpus == ["0", "1"]
    second = capacity.admit(stage(gpus_per_node=1), [first])
    assert second is not None
    assert second.gpus == ["2"]
    assert capacity.admit(stage(gpus_per_node=1), [first, second]) is None


def test_only_training_has_several_nodes() -> None:
    capacity = Capacity(Machine(8, LARGE), 8, None)
    demand = capacity.admit(stage("curate/math", nodes=4), [])
    assert demand is not None
    assert demand.cores == 1


def test_replicas_of_a_branch_cost_memory_and_shards_do_not() -> None:
    replicated = memory_bytes(StageKind.TRAIN, 10**9, replicas=2, ranks=2)
    sharded = memory_bytes(StageKind.TRAIN, 10**9, replicas=1, ranks=2)
    assert replicated - sharded == 16 * 10**9

"""Why an attempt ended, from what it left."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.stage import Outcome
from branchmerge.core.model import FailureClass
from branchmerge.local.attempts import End
from branchmerge.local.ending import NodeEnd, conclude
from builders import at

FAILURE, DISRUPTION = FailureClass.FAILURE, FailureClass.DISRUPTION
PERMANENT, STOPPED = FailureClass.PERMANENT, FailureClass.STOPPED


def said(code: int, message: str = "why") -> Outcome:
    return Outcome(exit_code=code, reason="Said", message=message)


def concluded(*nodes: NodeEnd, **fields: Any) -> End:
    known: dict[str, Any] = {"first": 0, "has_output": False, "stopped": None, "out_of_memory": False}
    return conclude(nodes, at(60), **(known | fields))


@pytest.mark.parametrize(
    ("node", "fields", "failure", "reason"),
    [
        pytest.param(NodeEnd(0, said(0, "")), {"has_output": True}, None, "Completed", id="done"),
        pytest.param(NodeEnd(-9, None), {"has_output": True}, None, "Completed", id="killed after it had published"),
        pytest.param(NodeEnd(None, None), {"has_output": True}, None, "Completed", id="vanished after publishing"),
        pytest.param(NodeEnd(0, None), {}, FAILURE, "NoOutput", id="exit 0 without an output"),
        pytest.param(NodeEnd(64, said(64)), {}, PERMANENT, "Said", id="wrong input"),
        pytest.param(NodeEnd(64, None), {}, PERMANENT, "InvalidInput", id="wrong input, without a word"),
        pytest.param(NodeEnd(64, said(64)), {"stopped": "Suspended"}, PERMANENT, "Said", id="wrong input on a stop"),
        pytest.param(NodeEnd(75, said(75)), {}, FAILURE, "Said", id="transient"),
        pytest.param(NodeEnd(1, None), {}, FAILURE, "ExitCode", id="failure without a word"),
        pytest.param(NodeEnd(143, said(143)), {"stopped": "Suspended"}, STOPPED, "Stopped", id="stopped by us"),
        pytest.param(NodeEnd(130, None), {"stopped": "Suspended"}, STOPPED, "Stopped", id="stopped by SIGINT"),
        pytest.param(NodeEnd(-15, None), {"stopped": "Suspended"}, STOPPED, "Stopped", id="stopped before it listened"),
        pytest.param(NodeEnd(-9, None), {"stopped": "Suspended"}, STOPPED, "Stopped", id="killed after its grace"),
        pytest.param(NodeEnd(1, said(1)), {"stopped": "Suspended"}, STOPPED, "Stopped", id="failed while it stopped"),
        pytest.param(NodeEnd(None, None), {"stopped": "Suspended"}, STOPPED, "Stopped", id="vanished while it stopped"),
        pytest.param(NodeEnd(143, said(143)), {}, DISRUPTION, "Said", id="stopped by somebody else"),
        pytest.param(NodeEnd(-15, None), {}, DISRUPTION, "Interrupted", id="SIGTERM from outside"),
        pytest.param(NodeEnd(-9, None), {}, DISRUPTION, "Killed", id="SIGKILL from outside"),
        pytest.param(NodeEnd(-9, None), {"out_of_memory": True}, FAILURE, "OutOfMemory", id="SIGKILL for memory"),
        pytest.param(NodeEnd(-11, None), {"out_of_memory": True}, FAILURE, "Crashed", id="SIGSEGV"),
        pytest.param(NodeEnd(None, None), {}, DISRUPTION, "Vanished", id="gone, nobody knows how"),
        pytest.param(NodeEnd(None, said(64)), {}, PERMANENT, "Said", id="gone, but it said wrong input"),
        pytest.param(NodeEnd(None, said(137)), {}, FAILURE, "Said", id="gone, but it said that a rank was killed"),
        pytest.param(NodeEnd(None, said(143)), {}, DISRUPTION, "Said", id="gone, but it said interrupted"),
    ],
)
def test_one_node(node: NodeEnd, fields: dict[str, Any], failure: FailureClass | None, reason: str) -> None:
    end = concluded(node, **fields)
    assert (end.failure, end.reason) == (failure, reason)
    assert end.exit_codes == [node.exit_code]


@pytest.mark.parametrize(
    ("codes", "first", "failure", "message"),
    [
        pytest.param((1, 1), 1, FAILURE, "node 1", id="the first that failed tells why"),
        pytest.param((1, 64), 0, PERMANENT, "node 1", id="the user's mistake explains the others"),
        pytest.param((0, 1), 0, FAILURE, "node 1", id="one that ended well explains nothing"),
    ],
)
def test_several_nodes(codes: tuple[int, ...], first: int, failure: FailureClass, message: str) -> None:
    nodes = [NodeEnd(code, said(code, f"node {node}")) for node, code in enumerate(codes)]
    end = concluded(*nodes, first=first)
    assert (end.failure, end.message) == (failure, message)
    assert end.exit_codes == list(codes)

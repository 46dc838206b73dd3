"""Why an attempt ended, from what it left: exit codes, termination messages, its output. Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from branchmerge.api.stage import ExitCode, Outcome
from branchmerge.core.model import FailureClass
from branchmerge.local.attempts import End

_INTERRUPTED = frozenset({ExitCode.INTERRUPTED, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """What is left of one node's process."""

    exit_code: int | None
    """Negative: it died of that signal. None: nobody was there to learn it."""
    outcome: Outcome | None
    """Its termination message."""

    @property
    def code(self) -> int | None:
        """The exit code as far as it is known: from the system, or by the process's own word."""
        if self.exit_code is None and self.outcome is not None:
            return self.outcome.exit_code
        return self.exit_code

    @property
    def well(self) -> bool:
        """Whether it ended as it should."""
        return self.code == ExitCode.DONE


def conclude(
    nodes: Sequence[NodeEnd], at: datetime, *, first: int, has_output: bool, stopped: str | None, out_of_memory: bool
) -> End:
    """Classify an attempt all of whose nodes ended.

    `first`: the node that ended before the others. `stopped`: why the attempt was told to stop, None where it was not.
    `out_of_memory`: the kernel killed a process for want of memory meanwhile. A complete output settles everything:
    whatever happened to the processes after that has lost nothing.
    """
    codes = [node.exit_code for node in nodes]
    if has_output:
        return End(at=at, reason="Completed", exit_codes=codes)
    node = _decisive([nodes[first], *nodes])
    failure, reason, message = _classify(node, stopped, out_of_memory)
    if node.outcome is not None and failure is not FailureClass.STOPPED and node.outcome.message:
        reason, message = node.outcome.reason, node.outcome.message
    return End(at=at, failure=failure, reason=reason, message=message, exit_codes=codes)


def _decisive(nodes: Sequence[NodeEnd]) -> NodeEnd:
    """The node that tells why: the user's mistake explains everything, else the first that did not end well."""
    bad = [node for node in nodes if not node.well] or nodes
    return next((node for node in bad if node.code == ExitCode.INPUT), bad[0])


def _classify(node: NodeEnd, stopped: str | None, out_of_memory: bool) -> tuple[FailureClass, str, str]:
    code = node.code
    if code == ExitCode.INPUT:
        return FailureClass.PERMANENT, "InvalidInput", "exit code 64; see the log"
    if stopped is not None:
        return FailureClass.STOPPED, "Stopped", stopped
    if code is None:
        return FailureClass.DISRUPTION, "Vanished", "its process is gone: killed, or the machine was restarted"
    if code in _INTERRUPTED:
        return FailureClass.DISRUPTION, "Interrupted", "stopped from outside"
    if code == -signal.SIGKILL:
        if out_of_memory:
            return FailureClass.FAILURE, "OutOfMemory", "killed by the kernel for want of memory"
        return FailureClass.DISRUPTION, "Killed", "killed from outside (SIGKILL)"
    if code < 0:
        return FailureClass.FAILURE, "Crashed", f"died of {signal.Signals(-code).name}"
    if code == ExitCode.DONE:
        return FailureClass.FAILURE, "NoOutput", "exited with 0 but left no output: see the log"
    return FailureClass.FAILURE, "ExitCode", f"exit code {code}; see the log"

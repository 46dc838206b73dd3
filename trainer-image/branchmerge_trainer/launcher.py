"""Starts the ranks of a node, and learns how each of them ended.

torchrun turns every exit code of a rank into 1, so this is a launcher of our own around its elastic agent: a rank
leaves an `Outcome` in a file, and the launcher exits with the code that it holds. Also for one process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ExitCode, Outcome
from branchmerge_trainer.failures import Interrupted, RankError
from branchmerge_trainer.hanging import stopped_even_if_hanging
from branchmerge_trainer.signals import StopFlag

RANK_OUTCOMES_ENV = "BRANCHMERGE_RANK_OUTCOMES"
"""Folder in which rank n leaves `n.json` when it does not end well."""

LAUNCHER_ENV = "BRANCHMERGE_LAUNCHER"
"""Process id of the launcher, without which no rank goes on."""

_RANK_MODULE = "branchmerge_trainer.rank"
_AGENT_LOGGERS = ("torch.distributed.elastic", "torch.distributed.elastic.agent.server.api")
"""Quiet: the outcome of a node says better what happened."""
_RENDEZVOUS_SECONDS = 900
_KILL_MARGIN_SECONDS = 10
"""The ranks are killed this long before the grace period ends, so that the launcher can still say why."""


@dataclass(frozen=True)
class Placement:
    """This node's place among the nodes of the attempt, from `PET_*` as the training operator sets them."""

    nodes: int
    node_rank: int
    ranks_per_node: int
    master_address: str
    master_port: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Placement:
        """Read `PET_*`; without them: one node, one rank, a free port of this machine."""
        nodes = _integer(environ, "PET_NNODES", 1)
        return cls(
            nodes=nodes,
            node_rank=_integer(environ, "PET_NODE_RANK", 0),
            ranks_per_node=_integer(environ, "PET_NPROC_PER_NODE", 1),
            master_address=environ.get("PET_MASTER_ADDR", "127.0.0.1"),
            master_port=_integer(environ, "PET_MASTER_PORT", 0) or _free_port(nodes),
        )


def launch(placement: Placement, grace_seconds: int, stop: StopFlag, end: Callable[[BaseException], None]) -> None:
    """Run the ranks of this node to their end, unless `stop` is set before they start.

    `end` ends this process at once, for the reason it is given.

    Raises RankError with the outcome of the rank that failed first, Interrupted where the attempt was stopped.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in _AGENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with TemporaryDirectory(prefix="branchmerge-ranks-") as folder:
        os.environ |= {RANK_OUTCOMES_ENV: folder, LAUNCHER_ENV: str(os.getpid())}
        config = LaunchConfig(
            min_nodes=placement.nodes,
            max_nodes=placement.nodes,
            nproc_per_node=placement.ranks_per_node,
            run_id="branchmerge",
            rdzv_backend="static",
            rdzv_endpoint=f"{placement.master_address}:{placement.master_port}",
            rdzv_configs={"rank": placement.node_rank, "timeout": _RENDEZVOUS_SECONDS},
            max_restarts=0,
            shutdown_timeout=max(1, grace_seconds - _KILL_MARGIN_SECONDS),
        )
        try:
            stop.check()
            with stopped_even_if_hanging(lambda: _end_without_ranks(end)):
                elastic_launch(config, sys.executable)("-u", "-m", _RANK_MODULE)
        except SignalException as error:
            _raise_after_signal(Path(folder), error)
        except ChildFailedError as error:
            exit_codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise RankError(first_failure(exit_codes, read_outcomes(Path(folder)))) from None


def _end_without_ranks(end: Callable[[BaseException], None]) -> None:
    """End this process if it has no ranks yet: it waits for other nodes, which may never come.

    Once there are ranks, the agent passes the signal on to them.
    """
    if not psutil.Process().children():
        end(Interrupted("stopped while it waited for other nodes"))


def read_outcomes(folder: Path) -> dict[int, Outcome]:
    """The outcomes that ranks left, by rank; the earliest first."""
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return {int(path.stem): Outcome.model_validate_json(path.read_bytes()) for path in files}


def first_failure(exit_codes: Mapping[int, int], outcomes: Mapping[int, Outcome]) -> Outcome:
    """The outcome of the whole node, from exit codes by rank (negative: a signal) and the outcomes that ranks left.

    The user's mistake explains everything else. Then a rank that was killed does, because others fail by losing their
    peer; then the first rank that failed by itself, because others were stopped on its account.
    """
    mistakes = [outcome for outcome in outcomes.values() if outcome.exit_code == ExitCode.INPUT]
    killed = [_killed(rank, -code) for rank, code in exit_codes.items() if code < 0 and code != -signal.SIGTERM]
    failures = [outcome for outcome in outcomes.values() if outcome.exit_code != ExitCode.INTERRUPTED]
    for explanation in (*mistakes, *killed, *failures, *outcomes.values()):
        return explanation
    rank, exit_code = next(iter(exit_codes.items()))
    if exit_code == -signal.SIGTERM:
        return Outcome(exit_code=ExitCode.INTERRUPTED, reason="Interrupted", message="stopped before the first step")
    return Outcome(exit_code=exit_code, reason="RankExited", message=f"rank {rank} exited with code {exit_code}")


def _killed(rank: int, number: int) -> Outcome:
    hint = ": out of memory, or killed from outside" if number == signal.SIGKILL else ""
    message = f"rank {rank} died of {signal.Signals(number).name}{hint}"
    return Outcome(exit_code=128 + number, reason="RankKilled", message=message)


def _raise_after_signal(folder: Path, error: BaseException) -> None:
    outcomes = read_outcomes(folder)
    interrupted = [outcome for outcome in outcomes.values() if outcome.exit_code == ExitCode.INTERRUPTED]
    if len(interrupted) == len(outcomes):
        message = interrupted[0].message if interrupted else "stopped before a checkpoint"
        raise Interrupted(message) from error
    raise RankError(first_failure({}, outcomes)) from error


def _integer(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise InputError(f"environment variable {name}: {text!r} is no whole number: set one") from None


def _free_port(nodes: int) -> int:
    if nodes > 1:
        raise InputError("environment variable PET_MASTER_PORT is not set: several nodes need a common port")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""Ranks of a training run as processes of their own, without the seconds that importing torch takes each time.

A server that has imported everything forks them, so that a test can kill ranks and start them again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import mkdtemp

from branchmerge.api.stage import Outcome, StageConfig
from branchmerge.local.environment import free_port
from branchmerge_trainer import launcher, rank

_PRELOADED = [
    "deepspeed",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2.modeling_qwen2",
    "branchmerge_trainer.turns",
    "branchmerge_trainer.train.stage",
]
_PATIENCE_SECONDS = 120


class Ranks:
    """Ranks that were started together, as the launcher would start them."""

    def __init__(self, root: Path, config: StageConfig, world: int, environment: Mapping[str, str]) -> None:
        self.root = root
        self.outcomes = Path(mkdtemp(dir=root, prefix="outcomes-"))
        self._log = self.outcomes / "log"
        common = {
            "BRANCHMERGE_STAGE": config.to_json(),
            "BRANCHMERGE_WORKSPACE": str(root),
            "BRANCHMERGE_PROGRESS_FILE": str(root / "progress.json"),
            launcher.RANK_OUTCOMES_ENV: str(self.outcomes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "WORLD_SIZE": str(world),
            **environment,
        }
        self.processes = [
            _context().Process(
                target=_rank, args=(common | {"RANK": str(number), "LOCAL_RANK": str(number)}, self._log)
            )
            for number in range(world)
        ]
        for process in self.processes:
            process.start()

    def send(self, number: signal.Signals, *, to: int | None = None) -> None:
        """Signal one rank, or all."""
        for index, process in enumerate(self.processes):
            if process.pid is not None and to in (None, index):
                os.kill(process.pid, number)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true, while the ranks live."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            assert any(process.is_alive() for process in self.processes), f"ranks ended: {self.exit_codes()}"
            time.sleep(0.001)

    def exit_codes(self) -> list[int | None]:
        """Wait for all ranks to end."""
        for process in self.processes:
            process.join(_PATIENCE_SECONDS)
        return [process.exitcode for process in self.processes]

    @property
    def log(self) -> str:
        """What the ranks printed."""
        return self._log.read_text()

    def outcome(self, number: int = 0) -> Outcome:
        """What a rank that did not end well says."""
        return launcher.read_outcomes(self.outcomes)[number]

    def kill(self) -> None:
        """End all ranks at once, and wait until they are gone."""
        for process in self.processes:
            process.kill()
            process.join()


@contextmanager
def started(root: Path, config: StageConfig, world: int = 1, **environment: str) -> Iterator[Ranks]:
    """Ranks that are gone afterwards, whatever happens."""
    ranks = Ranks(root, config, world, environment)
    try:
        yield ranks
    finally:
        ranks.kill()


def train(root: Path, config: StageConfig, world: int = 1, **environment: str) -> str:
    """Train to the end. Returns the log."""
    with started(root, config, world, **environment) as ranks:
        assert ranks.exit_codes() == [0] * world, ranks.log
        return ranks.log


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    os.environ |= {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    return context


def _rank(environment: Mapping[str, str], log: Path) -> None:
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ |= environment | {launcher.LAUNCHER_ENV: str(os.getppid())}
    sys.exit(rank.main())

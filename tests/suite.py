"""`python -m suite`: every test, in processes side by side. Most compute; those on the cluster mostly wait for it.

Arguments go to each pytest. With `--cluster` first, only the tests on the cluster are run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from localcluster.cluster import Cluster
from localcluster.errors import CannotRunError
from localcluster.progress import say
from localcluster.session import cluster_in_use
from localcluster.topology import FULL

CLONE = Path(__file__).parents[1]
ON_CLUSTER = "tests/cluster"
AUDIT_START_ENV = "AUDIT_START"
LANES = 2
"""Processes of tests on the cluster, at a time."""
TAKES_MINUTES = ("mini", "disruptions", "api_faults")
TAKE_NODES_AWAY = ("disruptions", "nodes", "pytorchjob")
"""One after another, in one process: the others use the node that they take away never."""
ALONE = ("removal", "restart", "rights")
"""After all others, in this order: what they do is felt in the whole cluster, or they look back at what was done."""
NO_TESTS = 5
INTERRUPTED = 130
WORTH_REPEATING = re.compile(r"(FAILED|ERROR|RERUN|SKIPPED) ")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Part:
    """What one pytest runs.

    Attributes:
        name: what its output is marked with.
        arguments: of its pytest.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Ending:
    """How a part ended, after how many seconds, and what of its output is worth repeating."""

    part: Part
    code: int
    seconds: float
    remarks: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing failed; with `-k`, a part may have no tests."""
        return self.code in {0, NO_TESTS}


class Suite:
    """Runs parts, and tells of them."""

    def __init__(self, extra: Sequence[str]) -> None:
        self._extra = tuple(extra)
        self._stopped = Event()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self.endings: list[Ending] = []

    def run(self, part: Part, **environment: str) -> None:
        """Run a part to its end, each line of its output marked."""
        if self._stopped.is_set():
            return
        argv = [sys.executable, "-m", "pytest", *part.arguments, *self._extra]
        env = {**os.environ, **environment}
        began, remarks = time.monotonic(), []
        with subprocess.Popen(
            argv, cwd=CLONE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            with self._lock:
                self._running.add(process)
            assert process.stdout is not None
            for line in process.stdout:
                print(f"[{part.name}] {line}", end="", flush=True)
                if WORTH_REPEATING.match(plain := COLOUR.sub("", line)):
                    remarks.append(plain.rstrip())
        with self._lock:
            self._running.remove(process)
            self.endings.append(Ending(part, process.returncode, time.monotonic() - began, tuple(remarks)))

    def stop(self) -> None:
        """Start no part any more, and interrupt those that run."""
        self._stopped.set()
        with self._lock:
            for process in self._running:
                process.send_signal(signal.SIGINT)


def on_cluster(suite: Suite) -> None:
    """Run the tests on the cluster, which is there for all of them."""
    files = collected()
    together, alone = [file for file in files if file not in ALONE], [file for file in ALONE if file in files]
    try:
        with cluster_in_use(cluster := Cluster(FULL)):
            since = {AUDIT_START_ENV: str(cluster.audit.position())}
            with ThreadPoolExecutor(LANES) as lanes:
                list(lanes.map(lambda part: suite.run(part, **since), parts(together)))
            for part in map(part_of, alone):
                suite.run(part, **since)
    except CannotRunError as error:
        say(str(error))
        suite.run(Part("cluster", ("-m", "cluster", ON_CLUSTER)))


def parts(files: Sequence[str]) -> list[Part]:
    """These files as parts: long ones first, and as one part those that take nodes away."""
    taking = [file for file in TAKE_NODES_AWAY if file in files]
    others = sorted(set(files) - set(taking), key=lambda file: (file not in TAKES_MINUTES, file))
    return (
        [*map(part_of, others[:1]), part_of(*taking), *map(part_of, others[1:])] if taking else [*map(part_of, others)]
    )


def part_of(*files: str) -> Part:
    """The tests on the cluster of these files."""
    paths = (f"{ON_CLUSTER}/test_{file}.py" for file in files)
    return Part("+".join(files), ("-m", "cluster", *paths))


def collected() -> list[str]:
    """The files with tests on the cluster: `mini` for tests/cluster/test_mini.py."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", "cluster", ON_CLUSTER]
    listing = subprocess.run(argv, cwd=CLONE, check=True, stdout=subprocess.PIPE, text=True).stdout
    return sorted(set(re.findall(rf"^{ON_CLUSTER}/test_(\w+)\.py", listing, re.MULTILINE)))


def summary(endings: Iterable[Ending]) -> Iterator[str]:
    """Lines that say how it went."""
    for ending in sorted(endings, key=lambda ending: ending.seconds):
        word = "passed" if ending.good else f"FAILED ({ending.code})"
        yield f"{ending.seconds:6.0f} s  {word:10}  {ending.part.name}"
        yield from (f"{'':10}{remark}" for remark in ending.remarks)


def main(arguments: Sequence[str]) -> int:
    """Run the suite, and return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore it
    only_cluster = arguments[:1] == ["--cluster"]
    suite = Suite(arguments[1:] if only_cluster else arguments)
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        work = [pool.submit(on_cluster, suite)]
        if not only_cluster:
            work.append(pool.submit(suite.run, Part("tests", ("-m", "not cluster"))))
        try:
            for each in work:
                each.result()
        except KeyboardInterrupt:
            say("interrupted: waiting for the tests that run to clean up")
            suite.stop()
            return INTERRUPTED
    print("\n".join(summary(suite.endings)))
    good = all(ending.good for ending in suite.endings)
    print(f"{time.monotonic() - began:6.0f} s  {'passed' if good else 'FAILED':10}  all tests")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

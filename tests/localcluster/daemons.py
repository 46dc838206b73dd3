"""Programs that stay: started now, found again and stopped by another process later."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import ClusterError
from localcluster.files import write_whole
from localcluster.shell import CommandError, run
from localcluster.waiting import until

SHOWN_LINES = 15
PROC = Path("/proc")
Wrap = Callable[[list[str]], list[str]]


def as_it_is(argv: list[str]) -> list[str]:
    """Wrap a command in nothing."""
    return argv


@dataclass(frozen=True)
class Daemon:
    """A program that stays.

    Its process id is kept in a file together with the moment it started, so that the id of a process that is long gone
    never ends another one.

    Attributes:
        name: of the program and of its files.
        folder: where its log and its process id are kept.
        argv: what to run.
        wrap: turns that into a command that runs in the right place, such as a cgroup, under the same process id.
    """

    name: str
    folder: Path
    argv: Sequence[str]
    wrap: Wrap = as_it_is

    @property
    def log(self) -> Path:
        """What it printed, over all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, else None."""
        try:
            pid, _, started = self._pidfile.read_text().partition(" ")
        except FileNotFoundError:
            return None
        return int(pid) if _start_of(int(pid)) == started else None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.wrap(list(self.argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        process.returncode = 0  # it outlives us on purpose: spare us the interpreter's warning
        write_whole(self._pidfile, f"{process.pid} {_start_of(process.pid)}")

    def stop(self, *, grace: float = 10) -> None:
        """Ask it to end, and kill it after `grace` seconds (0: kill it at once)."""
        if (pid := self.pid) is None:
            return
        if grace:
            self._signal(pid, signal.SIGTERM)
            with suppress(ClusterError):
                until(f"{self.name} to end", self._ended, timeout=grace, interval=0.05)
        if not self._ended():
            self._signal(pid, signal.SIGKILL)
            until(f"{self.name} to die", self._ended, timeout=10, interval=0.02)

    def require_running(self) -> None:
        """Raise ClusterError with the end of its log where it does not run."""
        if self.pid is None:
            lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
            raise ClusterError("\n".join([f"{self.name} ended; the end of {self.log}:", *lines[-SHOWN_LINES:]]))

    @property
    def _pidfile(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _ended(self) -> bool:
        return self.pid is None

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _start_of(pid: int) -> str:
    """When a process started; empty where it has ended, even if nobody has reaped it yet."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return _start_by_proc(pid) if PROC.is_dir() else _start_by_ps(pid)


def _start_by_proc(pid: int) -> str:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, threads, started = fields[0], int(fields[17]), fields[19]
    return "" if state in "ZX" and threads <= 1 else started  # threads that remain still hold its ports


def _start_by_ps(pid: int) -> str:
    try:
        return run(["ps", "-o", "lstart=", "-p", str(pid)]).strip()
    except CommandError:
        return ""

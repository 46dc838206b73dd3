"""The door to the sandbox: give it a program, get what it wrote and how it ended."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

import branchmerge_trainer
from branchmerge_trainer.sandbox.confinement import lacking
from branchmerge_trainer.sandbox.errors import SandboxError
from branchmerge_trainer.sandbox.program import Ending, Limits, Program, Run

_CODE_ROOT = str(Path(branchmerge_trainer.__file__).parents[1])
_PYTHON = (sys.executable, "-B", "-P", "-s", "-X", "utf8")
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
    "from branchmerge_trainer.sandbox import zygote\n"
    "del sys.path[0]\n"
    "zygote.main()\n"
)
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",  # a program that prints a set prints it the same way each time
}
"""All that a program finds in its environment."""
_GRACE_SECONDS = 10.0
"""How much longer than a program may run the zygote may need, on a busy machine."""
_PROBE = """
import errno, os, socket
outside = lambda: open("/etc/passwd").close()
for attempt in (socket.socket, os.fork, outside, lambda: os.kill(os.getppid(), 0)):
    try:
        attempt()
    except OSError as error:
        assert error.errno in (errno.EPERM, errno.EACCES), error
    else:
        raise SystemExit("a program is not isolated")
"""


class Sandbox:
    """Runs programs. Use it as a context manager, from as many threads as you like."""

    def __init__(self, limits: Limits | None = None, *, workers: int = 1, allow_unsandboxed: bool = False) -> None:
        """Start it.

        Args:
            limits: of each program that has none of its own.
            workers: how many programs run at the same time.
            allow_unsandboxed: run programs even where the kernel cannot isolate them, under limits only.

        Raises:
            SandboxError: this machine cannot isolate programs.
        """
        self._limits = limits or Limits()
        self.isolated = not lacking()
        if not self.isolated and not allow_unsandboxed:
            raise SandboxError(f"programs cannot be isolated here: the kernel lacks {'; '.join(lacking())}")
        self._zygotes = [_Zygote(isolate=self.isolated) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Zygote] = queue.SimpleQueue()
        for zygote in self._zygotes:
            self._idle.put(zygote)
        if self.isolated:
            self._probe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every program, and what runs them."""
        for zygote in self._zygotes:
            zygote.stop()

    def run(self, program: Program, limits: Limits | None = None) -> Run:
        """Run a program to its end, within limits of its own or the usual ones; waits where all workers are busy.

        Raises:
            SandboxError: the kernel refused to isolate it, so it was not run.
        """
        with self._worker() as zygote:
            return zygote.run(program, limits or self._limits)

    @contextmanager
    def _worker(self) -> Iterator[_Zygote]:
        zygote = self._idle.get()
        try:
            yield zygote
        finally:
            self._idle.put(zygote)

    def _probe(self) -> None:
        """Try what a program must not be able to do: the effect counts, not what the kernel says of itself."""
        try:
            with self._worker() as zygote:
                run = zygote.run(Program(_PROBE), Limits())
            if not run.succeeded:
                raise SandboxError(f"programs cannot be isolated here: {run.stderr or run.ending}")
        except BaseException:
            self.close()
            raise


class _Zygote:
    """A process that forks itself for each program; started when it is needed, and again where it died."""

    def __init__(self, *, isolate: bool) -> None:
        self._isolate = isolate
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._folder: str | None = None

    def run(self, program: Program, limits: Limits) -> Run:
        connection = self._connection or self._start()
        request = {"source": program.source, "stdin": program.stdin, "limits": asdict(limits)}
        started = time.monotonic()
        try:
            connection.send_bytes(json.dumps(request).encode())
            if connection.poll(limits.wall_seconds + _GRACE_SECONDS):
                return _run_of(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            pass  # it died, such as from lack of memory, and the program with it
        except SandboxError:
            raise
        except BaseException:  # we are told to stop: its answer would be taken for that to the next program
            self.stop()
            raise
        self.stop()
        return Run(Ending.KILLED, -9, "", "the process that ran it died", time.monotonic() - started)

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        self._folder = tempfile.mkdtemp(prefix="sandbox-")
        with theirs:
            self._process = subprocess.Popen(
                [*_PYTHON, "-c", _START, _CODE_ROOT, str(theirs.fileno()), str(int(self._isolate))],
                env=_ENVIRONMENT,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection = ours
        return ours

    def stop(self) -> None:
        """End it: the kernel then ends the program that it was running."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._connection = self._folder = None


def _run_of(answer: dict[str, object]) -> Run:
    if "refused" in answer:
        raise SandboxError(f"programs cannot be isolated here: {answer['refused']}")
    return Run(
        ending=Ending(str(answer["ending"])),
        code=int(str(answer["code"])),
        stdout=str(answer["stdout"]),
        stderr=str(answer["stderr"]),
        seconds=float(str(answer["seconds"])),
    )

"""The process that forks itself for each program: a Python that has started already, and knows no secret.

It gets programs through a socket, one after the other, and goes when the other end does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from branchmerge_trainer.sandbox.confinement import confine, readable_rules
from branchmerge_trainer.sandbox.execution import execute
from branchmerge_trainer.sandbox.kernel import adopt_orphans
from branchmerge_trainer.sandbox.landlock import Rule
from branchmerge_trainer.sandbox.program import Limits, Program
from branchmerge_trainer.sandbox.watch import Watched

_PRELOADED = (
    *("bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools"),
    *("heapq", "io", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing"),
)
"""What programs import most: loaded once instead of for each."""
_ERROR_CHARACTERS = 4000
_FIRST_OTHER_FILE = 3


def main() -> None:
    """Serve the socket that the first argument names; the second says whether to isolate (1) or not (0).

    Programs get folders in the working directory, which goes in the end.
    """
    connection, isolate = Connection(int(sys.argv[1])), sys.argv[2] == "1"
    adopt_orphans()
    for module in _PRELOADED:
        importlib.import_module(module)
    host = _Host(connection, readable_rules(), isolate)
    gc.collect()
    gc.freeze()
    with suppress(EOFError, BrokenPipeError):  # whoever wanted programs run is gone
        while True:
            request = json.loads(connection.recv_bytes())
            answer = host.run(Program(request["source"], request["stdin"]), Limits(**request["limits"]))
            connection.send_bytes(json.dumps(answer).encode())
    shutil.rmtree(Path.cwd(), ignore_errors=True)


@dataclass(frozen=True)
class _Streams:
    """Files in memory, by their numbers, that a program reads and writes."""

    stdin: int
    stdout: int
    stderr: int
    refusal: int
    """Why the program was not run; closed before it begins."""


@dataclass(frozen=True)
class _Host:
    """Forks programs."""

    connection: Connection
    readable: list[Rule]
    isolate: bool

    def run(self, program: Program, limits: Limits) -> dict[str, Any]:
        """The fields of a `Run`, or `refused`: why it was not run."""
        folder = Path(tempfile.mkdtemp(prefix="program-", dir=Path.cwd()))
        try:
            with _memory_files() as streams:
                os.write(streams.stdin, program.stdin.encode(errors="surrogatepass"))
                os.lseek(streams.stdin, 0, os.SEEK_SET)
                return self._run(program.source, streams, folder, limits)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, source: str, streams: _Streams, folder: Path, limits: Limits) -> dict[str, Any]:
        started = time.monotonic()
        if (pid := os.fork()) == 0:
            self._become(source, streams, folder, limits)
        watched = Watched(pid, folder, (streams.stdout, streams.stderr), limits)
        ending, code = watched.wait(self.connection.fileno())
        seconds = time.monotonic() - started
        if refused := _contents(streams.refusal, limits.output_bytes):
            return {"refused": refused}
        return {
            "ending": ending,
            "code": code,
            "stdout": _contents(streams.stdout, limits.output_bytes),
            "stderr": _contents(streams.stderr, limits.output_bytes)[-_ERROR_CHARACTERS:],
            "seconds": seconds,
        }

    def _become(self, source: str, streams: _Streams, folder: Path, limits: Limits) -> NoReturn:
        """Turn this child of the zygote into the program."""
        end_of_files = os.sysconf("SC_OPEN_MAX")  # now: its own limit is below what is open
        try:
            for number, stream in enumerate((streams.stdin, streams.stdout, streams.stderr)):
                os.dup2(stream, number)
            os.chdir(folder)
            confine(self.readable, folder, limits, isolate=self.isolate)
        except BaseException as error:
            os.write(streams.refusal, str(error).encode())
            os._exit(1)
        os.closerange(_FIRST_OTHER_FILE, end_of_files)
        execute(source)


@contextmanager
def _memory_files() -> Iterator[_Streams]:
    streams = _Streams(*(os.memfd_create(field.name) for field in fields(_Streams)))
    try:
        yield streams
    finally:
        for file in astuple(streams):
            os.close(file)


def _contents(file: int, most: int) -> str:
    return os.pread(file, most, 0).decode(errors="replace")


if __name__ == "__main__":
    main()

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
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from branchmerge_trainer.sandbox.confinement import confine, readable_rules
from branchmerge_trainer.sandbox.execution import execute
from branchmerge_trainer.sandbox.kernel import adopt_orphans
from branchmerge_trainer.sandbox.landlock import Rule
from branchmerge_trainer.sandbox.program import Limits
from branchmerge_trainer.sandbox.watch import Watched

_PRELOADED = (
    *("bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools"),
    *("heapq", "io", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing"),
)
"""What programs import most: loaded once instead of for each."""
_ERROR_CHARACTERS = 4000
_FIRST_OTHER_FILE = 3


def main() -> None:
    """Serve the socket that the first argument names; the second says whether to isolate (1) or not (0)."""
    connection, isolate = Connection(int(sys.argv[1])), sys.argv[2] == "1"
    adopt_orphans()
    for module in _PRELOADED:
        importlib.import_module(module)
    readable = readable_rules()
    gc.collect()
    gc.freeze()
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        answer = _run(request["source"], request["stdin"], Limits(**request["limits"]), readable, connection, isolate)
        try:
            connection.send_bytes(json.dumps(answer).encode())
        except BrokenPipeError:
            return


def _run(
    source: str, stdin: str, limits: Limits, readable: list[Rule], connection: Connection, isolate: bool
) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="program-", dir=Path.cwd()))
    try:
        with _memory_file("stdin") as given, _memory_file("stdout") as out, _memory_file("stderr") as err:
            os.write(given, stdin.encode(errors="surrogatepass"))
            os.lseek(given, 0, os.SEEK_SET)
            with _memory_file("refusal") as refusal:
                started = time.monotonic()
                if (pid := os.fork()) == 0:
                    _become(source, (given, out, err), refusal, folder, limits, readable, isolate)
                ending, code = Watched(pid, folder, (out, err), limits).wait(connection.fileno())
                seconds = time.monotonic() - started
                if refused := _contents(refusal, limits.output_bytes):
                    return {"refused": refused}
            stdout = _contents(out, limits.output_bytes)
            stderr = _contents(err, limits.output_bytes)[-_ERROR_CHARACTERS:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"ending": ending, "code": code, "stdout": stdout, "stderr": stderr, "seconds": seconds}


def _become(
    source: str,
    streams: tuple[int, int, int],
    refusal: int,
    folder: Path,
    limits: Limits,
    readable: list[Rule],
    isolate: bool,
) -> None:
    """Turn this child of the zygote into the program; whatever happens, it does not come back."""
    end_of_files = os.sysconf("SC_OPEN_MAX")  # a limit of its own is below what is open
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        confine(readable, folder, limits, isolate=isolate)
    except BaseException as error:
        os.write(refusal, str(error).encode())
        os._exit(1)
    os.closerange(_FIRST_OTHER_FILE, end_of_files)
    execute(source)


@contextmanager
def _memory_file(name: str) -> Iterator[int]:
    file = os.memfd_create(name)
    try:
        yield file
    finally:
        os.close(file)


def _contents(file: int, most: int) -> str:
    return os.pread(file, most, 0).decode(errors="replace")


if __name__ == "__main__":
    main()

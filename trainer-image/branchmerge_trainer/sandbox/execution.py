"""Runs source code as the main module of this process, and ends the process."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from types import ModuleType
from typing import NoReturn

_FILE = "program.py"


def execute(source: str) -> NoReturn:
    """Run it as `python program.py` would: exit code, traceback, threads that are waited for, exit handlers."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it: too much output would be just another error
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main = ModuleType("__main__")
    main.__dict__["__file__"] = _FILE
    sys.modules["__main__"] = main
    sys.argv = [_FILE]
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - for the rest of this process
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115
    code = _outcome_of(source, main)
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter does at its end
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 1
    os._exit(code)


def _outcome_of(source: str, main: ModuleType) -> int:
    try:
        exec(compile(source, _FILE, "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - what the sandbox is for
    except SystemExit as ending:
        return _exit_code(ending.code)
    except BaseException as error:
        trace = error.__traceback__
        traceback.print_exception(error.with_traceback(trace and trace.tb_next))  # without this function
        return 1
    return 0


def _exit_code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    sys.stderr.write(f"{value}\n")
    return 1

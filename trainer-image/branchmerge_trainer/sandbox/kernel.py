"""Calls of the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x2008_0522
_CAPSET = {"x86_64": 126, "aarch64": 91}

MACHINE = os.uname().machine
KNOWN_MACHINES = tuple(_CAPSET)
_LIBRARY = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> int:
    """A function of the C library that tells its error by -1 and errno. Raises OSError."""
    result: int = _LIBRARY[function](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result


def system_call(number: int, *arguments: object) -> int:
    """A system call by its number. Raises OSError."""
    _LIBRARY.syscall.restype = ctypes.c_long
    return call("syscall", ctypes.c_long(number), *arguments)


def prctl(option: int, first: int, second: object = 0) -> int:
    """`prctl(2)`. Raises OSError."""
    return call("prctl", option, ctypes.c_ulong(first), second, 0, 0)


def gain_no_privileges() -> None:
    """Nothing that this process executes has more rights than itself. Landlock and seccomp ask for it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def leave_no_dump() -> None:
    """Leave no core dump, not even where the kernel pipes it to a program, which a limit does not prevent."""
    prctl(_PR_SET_DUMPABLE, 0)


def send_when_parent_dies(signal: int) -> None:
    """Have the kernel send a signal to this process when its parent dies."""
    prctl(_PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def drop_capabilities() -> None:
    """Give up every right that root has, also as root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    system_call(_CAPSET[MACHINE], header, nothing)

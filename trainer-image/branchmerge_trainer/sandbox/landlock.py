"""Which files a process may open: Landlock, from Linux 5.13 on.

It also cuts off TCP (ABI 4), abstract sockets and signals to processes outside (ABI 6), where the kernel has that;
`seccomp` denies these everywhere.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

from branchmerge_trainer.sandbox.kernel import system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_BIND_AND_CONNECT_TCP = 0b11
_SCOPES = 0b11


class Access(IntFlag):
    """What may be done with files, and with what lies in folders."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_OF_A_FILE = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_FIRST_ABI = {Access.REFER: 2, Access.TRUNCATE: 3, Access.IOCTL_DEV: 5}
"""Version of Landlock that an access first appeared in; the others were there from the beginning."""


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class Rule:
    """A file or folder, opened so that it stays the same one, and what may be done with it."""

    def __init__(self, path: str | Path, access: Access) -> None:
        self.access = access if Path(path).is_dir() else access & _OF_A_FILE
        self.handle = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget it."""
        os.close(self.handle)


def abi() -> int:
    """Version of Landlock. Raises OSError where there is none, or it is switched off."""
    return system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)


def restrict(rules: Iterable[Rule]) -> None:
    """Take every access to files from this process, for good, but for what the rules allow. Raises OSError."""
    version = abi()
    handled = Access(sum(access for access in Access if _FIRST_ABI.get(access, 1) <= version))
    attributes = _RulesetAttributes(
        handled, _BIND_AND_CONNECT_TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    ruleset = system_call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    for rule in rules:
        beneath = _PathBeneath(rule.access & handled, rule.handle)
        system_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)

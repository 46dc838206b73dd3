"""Which system calls a process may make: a seccomp filter that denies all but those that it names.

Source: https://docs.kernel.org/userspace-api/seccomp_filter.html; the machine is that of `linux/filter.h`.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from branchmerge_trainer.sandbox.kernel import MACHINE, prctl

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_KILL_PROCESS, _ERRNO, _ALLOW = 0x8000_0000, 0x0005_0000, 0x7FFF_0000
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true, and if false, operand."""


@dataclass(frozen=True, slots=True)
class Equals:
    """A condition on an argument that the kernel reads as 32 bits: equal to a value, of the bits of a mask."""

    argument: int
    value: int
    mask: int = 0xFFFF_FFFF

    def instructions(self, skip: int) -> list[Instruction]:
        """Goes on behind them where it holds; else skips as many instructions more."""
        return [
            (_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * self.argument),
            (_AND, 0, 0, self.mask),
            (_JUMP_IF_EQUAL, 0, skip, self.value),
        ]


@dataclass(frozen=True, slots=True)
class IsNull:
    """A condition on a pointer."""

    argument: int

    def instructions(self, skip: int) -> list[Instruction]:
        """Goes on behind them where it holds; else skips as many instructions more."""
        low = _ARGUMENTS_OFFSET + 8 * self.argument
        return [
            (_LOAD, 0, 0, low),
            (_JUMP_IF_EQUAL, 0, skip + 2, 0),
            (_LOAD, 0, 0, low + 4),
            (_JUMP_IF_EQUAL, 0, skip, 0),
        ]


Conditions = Sequence[Equals | IsNull]
"""All must hold."""


def compiled(allowed: Iterable[int], conditional: dict[int, Sequence[Conditions]], absent: Iterable[int]) -> bytes:
    """A filter.

    Args:
        allowed: numbers of calls that may be made.
        conditional: calls that may be made if one of these lists of conditions holds.
        absent: calls that fail as if the kernel had none such, so that the C library uses older ones.
    """
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH[MACHINE]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
    ]
    for number in allowed:
        program += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in absent:
        program += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    for number, alternatives in conditional.items():
        body = [instruction for conditions in alternatives for instruction in _all_of(conditions)]
        body.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
        program += [(_JUMP_IF_EQUAL, 0, len(body), number), *body]
    program.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _all_of(conditions: Conditions) -> list[Instruction]:
    body: list[Instruction] = [(_RETURN, 0, 0, _ALLOW)]
    for condition in reversed(conditions):
        body = condition.instructions(skip=len(body)) + body
    return body


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(program: bytes) -> None:
    """Put this process under a filter, for good. Raises OSError."""
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(program) // 8, program)))

"""A program, what it may use, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    """Over all of its threads."""
    memory_bytes: int = 1 << 30
    """Of address space."""
    output_bytes: int = 4 << 20
    """Of its standard output, of its standard error, and of each file that it writes."""
    disk_bytes: int = 16 << 20
    """Of all files in its folder."""
    files: int = 64
    """In its folder, and open."""
    threads: int = 64


@dataclass(frozen=True, slots=True)
class Program:
    """Python source code and what it reads from its standard input."""

    source: str
    stdin: str = ""


class Ending(StrEnum):
    """Why a program ended."""

    EXITED = "exited"
    """By itself: its code says how."""
    KILLED = "killed"
    """By a signal that it caused."""
    TIMED_OUT = "timed out"
    """Over its seconds, of a clock or of the processor."""
    TOO_MUCH_OUTPUT = "too much output"
    TOO_MUCH_DISK = "too many or too large files"
    TOO_MANY_THREADS = "too many threads"


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended, and what it wrote until then."""

    ending: Ending
    code: int
    """Its exit code, or the negative number of the signal that ended it."""
    stdout: str
    """At most `Limits.output_bytes`; what is no UTF-8 is replaced."""
    stderr: str
    """The last few thousand characters."""
    seconds: float
    """Of a clock."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself, without an error."""
        return self.ending is Ending.EXITED and self.code == 0

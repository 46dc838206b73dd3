"""The system calls that a Python program needs to compute: all others are denied.

So there is no socket, no new process, no other program, no signal to others, no removal or renaming of files, no
memory file, no io_uring, no ptrace, no keyring, no BPF: whatever a later kernel adds is denied, too.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Sequence

from branchmerge_trainer.sandbox.kernel import MACHINE
from branchmerge_trainer.sandbox.seccomp import Conditions, Equals, IsNull, compiled

_NUMBERS: dict[str, tuple[int, int | None]] = {
    # of memory
    "brk": (12, 214),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    # of what is open
    "close": (3, 57),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fadvise64": (221, 223),
    "fcntl": (72, 25),
    "fdatasync": (75, 83),
    "fstat": (5, 80),
    "fsync": (74, 82),
    "ftruncate": (77, 46),
    "getdents64": (217, 61),
    "ioctl": (16, 29),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "read": (0, 63),
    "readv": (19, 65),
    "write": (1, 64),
    "writev": (20, 66),
    # of files by name: Landlock says which
    "access": (21, None),
    "chdir": (80, 49),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "getcwd": (79, 17),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "open": (2, None),
    "openat": (257, 56),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "stat": (4, None),
    "statx": (332, 291),
    "umask": (95, 166),
    # of waiting
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_wait": (232, None),
    "eventfd2": (290, 19),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "pselect6": (270, 72),
    "select": (23, None),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "socketpair": (53, 199),
    # of time
    "alarm": (37, None),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "getitimer": (36, 102),
    "gettimeofday": (96, 169),
    "nanosleep": (35, 101),
    "setitimer": (38, 103),
    "time": (201, None),
    "times": (100, 153),
    # of threads
    "arch_prctl": (158, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "get_robust_list": (274, 100),
    "membarrier": (324, 283),
    "prctl": (157, 167),
    "rseq": (334, 293),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    # of signals
    "kill": (62, 129),
    "pause": (34, None),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigpending": (127, 136),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "tgkill": (234, 131),
    # of who and where one is
    "getcpu": (309, 168),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getgroups": (115, 158),
    "getpgid": (121, 155),
    "getpgrp": (111, None),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getrandom": (318, 278),
    "getresgid": (120, 150),
    "getresuid": (118, 148),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "getsid": (124, 156),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "prlimit64": (302, 261),
    "sysinfo": (99, 179),
    "uname": (63, 160),
}
"""Name -> number on x86-64 and on arm64; None where a machine has no such call. Numbers never change."""

_O_TMPFILE = 0o20_000_000
"""A file without a name, which would not be seen in the folder."""
_CLONE_THREAD = 0x0001_0000
_CLONE_NAMESPACES = 0x7E02_0000
_AF_UNIX, _SOCK_STREAM = int(socket.AF_UNIX), int(socket.SOCK_STREAM)
_SOCKET_TYPES = 0xF
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032)
"""Duplicates, flags, the size of a pipe; not F_SETOWN, which has signals sent to another process."""
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_PRCTL = (15, 16)
"""A thread's name."""


def program_filter(process: int) -> bytes:
    """The filter of a program, whose process id it has to know."""
    column = 0 if MACHINE == "x86_64" else 1
    numbers = {name: pair[column] for name, pair in _NUMBERS.items()}
    known = {name: number for name, number in numbers.items() if number is not None}
    conditional = {known[name]: rule for name, rule in _conditions(process).items() if name in known}
    absent = known["clone3"]  # its flags lie in memory, where no filter can read them
    allowed = [number for number in known.values() if number not in conditional and number != absent]
    return compiled(allowed, conditional, [absent])


def _conditions(process: int) -> dict[str, Sequence[Conditions]]:
    to_itself = [[Equals(0, process)]]
    return {
        "open": [[Equals(1, 0, _O_TMPFILE)]],
        "openat": [[Equals(2, 0, _O_TMPFILE)]],
        "fcntl": [[Equals(1, command)] for command in _FCNTL],
        "ioctl": [[Equals(1, command)] for command in _IOCTL],
        "prctl": [[Equals(0, option)] for option in _PRCTL],
        "clone": [[Equals(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_NAMESPACES)]],
        "kill": to_itself,
        "tgkill": to_itself,
        # an event loop wakes itself by such a pair; without an address it reaches nobody else
        "socketpair": [[Equals(0, _AF_UNIX), Equals(1, _SOCK_STREAM, _SOCKET_TYPES)]],
        "sendto": [[IsNull(4)]],
        # to read limits, and for a deeper stack; root could otherwise raise the others
        "prlimit64": [
            [Equals(0, 0), IsNull(2)],
            [Equals(0, 0), Equals(1, resource.RLIMIT_STACK)],
        ],
    }

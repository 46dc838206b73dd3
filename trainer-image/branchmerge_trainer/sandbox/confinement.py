"""What a program's process gives up before the program begins."""

from __future__ import annotations

import os
import resource
import signal
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

from branchmerge_trainer.sandbox.kernel import (
    KNOWN_MACHINES,
    MACHINE,
    drop_capabilities,
    gain_no_privileges,
    leave_no_dump,
    send_when_parent_dies,
)
from branchmerge_trainer.sandbox.landlock import Access, Rule, abi, restrict
from branchmerge_trainer.sandbox.program import Limits
from branchmerge_trainer.sandbox.seccomp import install
from branchmerge_trainer.sandbox.syscalls import program_filter

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo")
_DEVICES = {"/dev/null": Access.READ_FILE | Access.WRITE_FILE, "/dev/urandom": Access.READ_FILE}
_READ = Access.READ_FILE | Access.READ_DIR
_FILES_OF_ITS_OWN = _READ | Access.WRITE_FILE | Access.TRUNCATE | Access.MAKE_REG
"""A program can neither remove nor rename files: one that is open without a name could not be counted."""
_STACK_BYTES = 64 << 20
_FIRST_TO_BE_KILLED = b"1000"


def lacking() -> list[str]:
    """What this machine lacks to confine a program, in words; empty where it lacks nothing."""
    if MACHINE not in KNOWN_MACHINES:
        return [f"the numbers of system calls on {MACHINE} (known: {', '.join(KNOWN_MACHINES)})"]
    lacks = []
    try:
        abi()
    except OSError as error:
        lacks.append(f"Landlock (Linux 5.13 or later with landlock among its LSMs; {error})")
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        lacks.append("seccomp filters (CONFIG_SECCOMP_FILTER)")
    return lacks


def readable_rules() -> list[Rule]:
    """What Python itself needs: its standard library and packages, shared libraries, no more."""
    packages = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths = {*packages, str(Path(sys.base_prefix) / "lib"), *_LIBRARIES}
    rules = [Rule(path, _READ) for path in sorted(paths) if Path(path).exists()]
    return rules + [Rule(path, access) for path, access in _DEVICES.items()]


def confine(readable: list[Rule], folder: Path, limits: Limits, *, isolate: bool) -> None:
    """Give up all but reading `readable`, and writing to `folder`, for good.

    `isolate`: false leaves out Landlock and seccomp; what remains are limits.
    Raises OSError where the kernel refuses.
    """
    send_when_parent_dies(signal.SIGKILL)
    os.setsid()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_FIRST_TO_BE_KILLED)
    _limit(limits)
    gain_no_privileges()
    leave_no_dump()
    if isolate:
        drop_capabilities()
        restrict([*readable, Rule(folder, _FILES_OF_ITS_OWN)])
        install(program_filter(os.getpid()))


def _limit(limits: Limits) -> None:
    wanted = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (limits.cpu_seconds, limits.cpu_seconds + 1),
        resource.RLIMIT_AS: (limits.memory_bytes, limits.memory_bytes),
        resource.RLIMIT_FSIZE: (limits.output_bytes, limits.output_bytes),
        resource.RLIMIT_NOFILE: (limits.files, limits.files),
        resource.RLIMIT_STACK: (_STACK_BYTES, resource.RLIM_INFINITY),
    }
    for kind, (soft, hard) in wanted.items():
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
            soft = min(soft, hard)
        resource.setrlimit(kind, (soft, hard))

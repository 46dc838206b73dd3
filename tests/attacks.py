"""Programs that try to get out of the sandbox, and what they try it on. Also run inside a pod: `python attacks.py`.

It needs the standard library and `branchmerge_trainer.sandbox` only. Each program prints `escaped` where it gets what
it must not have; run without the sandbox, most of them do.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from branchmerge_trainer.sandbox.program import Ending, Limits, Program, Run
from branchmerge_trainer.sandbox.sandbox import Sandbox

ESCAPED = "escaped"
ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
LIMITS = Limits(wall_seconds=2, cpu_seconds=2, memory_bytes=512 << 20, output_bytes=1 << 20, disk_bytes=4 << 20)


@dataclass(frozen=True)
class Attack:
    """A program, and how the sandbox ends it."""

    name: str
    source: str
    endings: tuple[Ending, ...] = (Ending.EXITED,)
    control: bool = True
    """Whether it is safe, and tells something, to run it without the sandbox, too."""

    @property
    def program(self) -> str:
        """With what every attack uses."""
        return _PRELUDE + self.source


_PRELUDE = """
import ctypes, json, os, signal, sys
scene = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
x86 = os.uname().machine == "x86_64"
def syscall(x86_64, arm64, *args):
    numbers = (ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args)
    return libc.syscall(ctypes.c_long(x86_64 if x86 else arm64), *numbers)
def escaped(yes=True):
    if yes:
        print("escaped", flush=True)
"""


def _spending(name: str, source: str, *endings: Ending) -> Attack:
    return Attack(name, source, endings, control=False)


NETWORK = [
    Attack("TCP to a port of this machine", "import socket; escaped(socket.create_connection(scene['tcp'], 2))"),
    Attack(
        "UDP to a port of this machine",
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "escaped(s.sendto(b'x', tuple(scene['tcp'])))",
    ),
    Attack("listening", "import socket; s = socket.create_server(('127.0.0.1', 0)); escaped()"),
    Attack(
        "a Unix socket in a folder",
        "import socket; escaped(socket.socket(socket.AF_UNIX).connect(scene['unix']) is None)",
    ),
    Attack(
        "an abstract Unix socket",
        "import socket; escaped(socket.socket(socket.AF_UNIX).connect('\\0' + scene['abstract']) is None)",
    ),
    Attack(
        "one half of a socket pair to somebody else",
        "import socket; s = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]\n"
        "escaped(s.sendto(b'x', '\\0' + scene['abstract'] + '-dgram'))",
    ),
    Attack("netlink", "import socket; escaped(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))"),
]
SECRETS = [
    Attack("the token", "escaped(open(scene['token']).read())"),
    Attack("the token by a link", "os.symlink(scene['token'], 'link'); escaped(open('link').read())"),
    Attack("the token by a hard link", "os.link(scene['token'], scene['outside'] + '/hard'); escaped()"),
    Attack("the token by a path with dots", "escaped(open('/usr/lib/../../' + scene['token']).read())"),
    Attack(
        "the token by openat2",
        "how = (ctypes.c_uint64 * 3)(0, 0, 0)\n"
        "escaped(syscall(437, 437, -100, scene['token'].encode(), ctypes.byref(how), 24) >= 0)",
    ),
    Attack("our environment", "escaped(any('SECRET' in text for text in os.environ.values()))"),
    Attack("our environment in /proc", "escaped(open(f\"/proc/{scene['pid']}/environ\", 'rb').read())"),
    Attack("its parent's environment in /proc", "escaped(open(f'/proc/{os.getppid()}/environ', 'rb').read())"),
    Attack("its parent's memory", "escaped(open(f'/proc/{os.getppid()}/mem', 'rb'))"),
    Attack("the other processes", "escaped(os.listdir('/proc'))"),
    Attack("our home", "escaped(os.listdir(scene['home']) is not None)"),
    Attack("the users of this machine", "escaped(open('/etc/passwd').read())"),
    Attack(
        "files that we have open",
        "escaped(any(os.path.exists(f'/proc/{os.getppid()}/fd/{n}') and "
        "open(f'/proc/{os.getppid()}/fd/{n}') for n in (0, 3)))",
    ),
    Attack(
        "files that it inherited",
        "import fcntl\nfor number in range(3, 4096):\n"
        "    try:\n        fcntl.fcntl(number, fcntl.F_GETFD)\n        escaped()\n    except OSError:\n        pass",
        control=False,
    ),
    Attack("ptrace of its parent", "escaped(syscall(101, 117, 16, os.getppid(), 0, 0) == 0)", control=False),
    Attack(
        "process_vm_readv of itself, as of any other",
        "source, target = ctypes.create_string_buffer(b'abcdefgh'), ctypes.create_string_buffer(8)\n"
        "vector = lambda buffer: ctypes.byref((ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8))\n"
        "escaped(syscall(310, 270, os.getpid(), vector(target), 1, vector(source), 1, 0) == 8)",
    ),
]
FILES = [
    Attack("a new file outside", "escaped(open(scene['outside'] + '/new', 'w'))"),
    Attack("a new folder outside", "os.mkdir(scene['outside'] + '/folder'); escaped()"),
    Attack("a file without a name outside", "escaped(os.open(scene['outside'], os.O_TMPFILE | os.O_WRONLY))"),
    Attack("overwriting outside", "escaped(open(scene['precious'], 'r+').write('x'))"),
    Attack("truncating outside", "os.truncate(scene['precious'], 0); escaped()"),
    Attack("removing outside", "os.unlink(scene['precious'] + '-2'); escaped()"),
    Attack("renaming outside", "os.rename(scene['precious'] + '-3', scene['precious'] + '-4'); escaped()"),
    Attack("changing rights outside", "os.chmod(scene['precious'], 0o777); escaped()"),
    Attack("a link in its folder to a folder outside", "os.symlink(scene['outside'], 'o'); escaped(open('o/x', 'w'))"),
    Attack("overwriting the standard library", "escaped(open(os.__file__, 'r+'))", control=False),
    Attack("a device", "escaped(open('/dev/tty'))", control=False),
    Attack(
        "shared memory",
        "from multiprocessing import shared_memory\n"
        "s = shared_memory.SharedMemory(create=True, size=8); s.unlink(); escaped()",
    ),
]
PROCESSES = [
    Attack("fork", "escaped(os.fork() >= 0)"),
    Attack("vfork by its number", "pid = syscall(56, 220, 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nescaped(pid > 0)"),
    Attack(
        "clone3",
        "args = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17)\npid = syscall(435, 435, args, 64)\n"
        "if pid == 0: os._exit(0)\nescaped(pid > 0)",
    ),
    Attack(
        "a daemon",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        escaped()\n    os._exit(0)\nos.wait()",
    ),
    Attack("exec of a shell", "sys.stdout.flush(); os.execv('/bin/sh', ['sh', '-c', 'echo escaped'])"),
    Attack(
        "a subprocess", "import subprocess; print(subprocess.run(['/bin/echo', 'escaped'], capture_output=True).stdout)"
    ),
    Attack(
        "a pool of processes",
        "import multiprocessing as m; p = m.get_context('fork').Process(target=escaped)\np.start(); p.join()",
    ),
    Attack("a signal to its parent", "os.kill(os.getppid(), 0); escaped()"),
    Attack("a signal to us", "os.kill(scene['pid'], 0); escaped()"),
    Attack("a signal to all", "os.kill(-1, 0); escaped()"),
    Attack("a signal to its group", "os.killpg(0, 0); escaped()"),
    Attack("a signal by a pidfd", "escaped(os.pidfd_open(os.getppid()) >= 0)"),
    Attack(
        "a signal by the owner of a pipe",
        "import fcntl; r, w = os.pipe()\nescaped(fcntl.fcntl(r, 8, os.getppid()) == 0)",
    ),
    Attack("a signal to a thread of its parent", "escaped(syscall(234, 131, os.getppid(), os.getppid(), 0) == 0)"),
    Attack("outliving its parent", "escaped(libc.prctl(1, 0, 0, 0, 0) == 0)"),
    Attack("a session of its own", "os.setpgid(0, 0); escaped()", control=False),
]
KERNEL = [
    Attack("io_uring", "escaped(syscall(425, 425, 1, (ctypes.c_char * 120)()) >= 0)", control=False),
    Attack("a memory file", "escaped(os.memfd_create('x') >= 0)"),
    Attack("a namespace of its own", "escaped(libc.unshare(0x10000000) == 0)", control=False),
    Attack("BPF", "escaped(syscall(321, 280, 0, (ctypes.c_char * 72)(), 72) >= 0)", control=False),
    Attack("userfaultfd", "escaped(syscall(323, 282, 1) >= 0)", control=False),
    Attack("perf_event_open", "escaped(syscall(298, 241, (ctypes.c_char * 128)(), 0, -1, -1, 0) >= 0)", control=False),
    Attack("a keyring", "escaped(syscall(250, 219, 0, -3, 0) >= 0)", control=False),
    Attack("System V shared memory", "escaped(libc.shmget(0, 4096, 0o1600) >= 0)", control=False),
    Attack("more limits", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)); escaped()"),
    Attack(
        "more limits, by prlimit of its parent",
        "import resource\nescaped(resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE))",
    ),
    Attack("a call of the x32 machine", "escaped(x86 and syscall(0x40000000 + 39, 172) == 0)", control=False),
    Attack(
        "calls of a 32-bit machine",
        "import mmap\nif x86:\n    code = mmap.mmap(-1, 4096, prot=7)\n"
        "    code.write(bytes.fromhex('b814000000cd80c3'))  # getpid by int 0x80\n"
        "    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\n"
        "    escaped(run() == os.getpid())",
        endings=(Ending.KILLED, Ending.EXITED),
        control=False,
    ),
]
SPENDING = [
    _spending(
        "a fork bomb", "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass", Ending.TIMED_OUT
    ),
    _spending(
        "a bomb of threads",
        "import threading, time; threading.stack_size(32768)\n"
        "for n in range(20000):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nescaped()",
        Ending.TOO_MANY_THREADS,
        Ending.EXITED,
    ),
    _spending("a memory bomb", "all = []\nwhile True: all.append(bytearray(1 << 24))", Ending.EXITED),
    _spending("a memory bomb of one piece", "escaped(bytearray(1 << 40))", Ending.EXITED),
    _spending(
        "a memory bomb of shared pages",
        "import mmap; all = []\nwhile True: all.append(mmap.mmap(-1, 1 << 24))",
        Ending.EXITED,
    ),
    _spending("an endless loop", "while True: pass", Ending.TIMED_OUT),
    _spending(
        "endless threads",
        "import threading\nfor n in range(8):\n    threading.Thread(target=exec, args=('while True: pass',)).start()",
        Ending.TIMED_OUT,
    ),
    _spending("sleep", "import time; time.sleep(60)", Ending.TIMED_OUT),
    _spending(
        "ignoring every signal",
        "for number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass",
        Ending.TIMED_OUT,
    ),
    _spending("stopping itself", "os.kill(os.getpid(), signal.SIGSTOP)", Ending.TIMED_OUT),
    _spending("killing itself by an unnamed signal", "os.kill(os.getpid(), 40)", Ending.KILLED),
    _spending("a crash", "ctypes.string_at(0)", Ending.KILLED),
    _spending(
        "endless recursion in C",
        "sys.setrecursionlimit(10**9)\nf = lambda: sorted([0], key=lambda _: f())\nf()",
        Ending.KILLED,
        Ending.EXITED,
    ),
    _spending("huge output", "while True: print('x' * 65536)", Ending.TOO_MUCH_OUTPUT),
    _spending("huge errors", "while True: sys.stderr.write('x' * 65536)", Ending.TOO_MUCH_OUTPUT),
    _spending(
        "huge output that ignores its limit",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwhile True:\n"
        "    try: os.write(1, b'x' * 65536)\n    except OSError: pass",
        Ending.TOO_MUCH_OUTPUT,
    ),
    _spending("a large file", "open('file', 'wb').write(bytes(64 << 20)); escaped()", Ending.TOO_MUCH_OUTPUT),
    _spending("many files", "for n in range(10**6): open(str(n), 'w').close()\nescaped()", Ending.TOO_MUCH_DISK),
    _spending(
        "a few files that fill the disk",
        "for n in range(60): open(str(n), 'wb').write(bytes(1 << 19))\nimport time; time.sleep(60)",
        Ending.TOO_MUCH_DISK,
    ),
    _spending(
        "files that are open and removed",
        "for n in range(60):\n    f = open(str(n), 'wb'); os.unlink(str(n))\nescaped()",
        Ending.EXITED,
    ),
    _spending("files without a name", "escaped(os.open('.', os.O_TMPFILE | os.O_RDWR))", Ending.EXITED),
    _spending("folders", "os.mkdir('x'); escaped()", Ending.EXITED),
]
ATTACKS = [*NETWORK, *SECRETS, *FILES, *PROCESSES, *KERNEL, *SPENDING]


@contextmanager
def scene() -> Iterator[dict[str, object]]:
    """What the attacks are on, as they get it: our process, files and servers, all of which let everybody in."""
    os.environ["TEACHER_API_KEY"] = "SECRET"
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as tcp:
        folder = Path(name)
        token = ACCOUNT_TOKEN if ACCOUNT_TOKEN.exists() else folder / "token"
        if token is not ACCOUNT_TOKEN:
            token.write_text("SECRET")
        precious = folder / "precious"
        for suffix in ("", "-2", "-3"):
            Path(f"{precious}{suffix}").write_text("precious")
        unix, abstract, datagrams = (socket.socket(socket.AF_UNIX, kind) for kind in _KINDS)
        with unix, abstract, datagrams:
            unix.bind(str(folder / "socket"))
            abstract.bind(f"\0{name}")
            datagrams.bind(f"\0{name}-dgram")
            unix.listen()
            abstract.listen()
            yield {
                "pid": os.getpid(),
                "home": str(Path.home()),
                "token": str(token),
                "outside": name,
                "precious": str(precious),
                "tcp": tcp.getsockname(),
                "unix": str(folder / "socket"),
                "abstract": name,
            }


_KINDS = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)


def got_out(attack: Attack, run: Run) -> str | None:
    """What is wrong with how an attack ended; None where it was contained."""
    if ESCAPED in run.stdout:
        return f"{attack.name}: escaped"
    if run.ending not in attack.endings:
        return f"{attack.name}: {run.ending} ({run.code}), not {' or '.join(attack.endings)}: {run.stderr[-300:]}"
    return None


def main() -> None:
    """Run all, one after the other; print each one's ending as a line of JSON."""
    with Sandbox(LIMITS) as sandbox, scene() as attacked:
        for attack in ATTACKS:
            run = sandbox.run(Program(attack.program, json.dumps(attacked)))
            line = asdict(run) | {"attack": attack.name, "stdout": run.stdout[:200], "stderr": run.stderr[-300:]}
            print(json.dumps(line | {"problem": got_out(attack, run)}), flush=True)
        summary = {
            "isolated": sandbox.isolated,
            "user": os.getuid(),
            "token": attacked["token"] if Path(str(attacked["token"])).read_text() else None,
            "seccomp": _status("Seccomp"),
            "no_new_privileges": _status("NoNewPrivs"),
            "precious": Path(str(attacked["precious"])).read_text(),
            "left": sorted(entry.name for entry in Path(str(attacked["outside"])).iterdir()),
        }
    print(json.dumps(summary))


def _status(name: str) -> str:
    """What the kernel says of this process itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.exit(main())

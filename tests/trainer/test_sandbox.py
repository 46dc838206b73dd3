"""Programs that mean no harm run as they would elsewhere; a machine that cannot isolate is refused."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyseccomp
import pytest

from branchmerge_trainer.sandbox.program import Ending, Limits, Program
from branchmerge_trainer.sandbox.sandbox import Sandbox
from branchmerge_trainer.sandbox.syscalls import _NUMBERS


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=60, cpu_seconds=60), workers=2) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("source", "stdin", "stdout"),
    [
        pytest.param("print(sum(map(int, input().split())))", "1 2 3\n", "6\n", id="reads and prints"),
        pytest.param("import sys; print(len(sys.stdin.readlines()))", "a\nb\nc", "3\n", id="reads all lines"),
        pytest.param(
            "import os; print(len(os.read(0, os.fstat(0).st_size)))", "x" * 500_000, "500000\n", id="raw input"
        ),
        pytest.param("import sys; print(len(open(0).read()))", "é" * 10, "10\n", id="UTF-8"),
        pytest.param("print(open(0, 'rb').read())", "", "b''\n", id="no input"),
        pytest.param(
            "import atexit; atexit.register(print, 'late'); print('early')", "", "early\nlate\n", id="at exit"
        ),
        pytest.param("if __name__ == '__main__': print(__file__)", "", "program.py\n", id="is the main module"),
        pytest.param(
            "import threading\nthreading.stack_size(1 << 26)\nthreading.Thread(target=lambda: print('thread')).start()",
            "",
            "thread\n",
            id="a thread that nobody joins",
        ),
        pytest.param(
            "import sys\nsys.setrecursionlimit(10**6)\nf = lambda n: n and 1 + f(n - 1)\nprint(f(100000))",
            "",
            "100000\n",
            id="deep recursion",
        ),
        pytest.param(
            "import resource; resource.setrlimit(resource.RLIMIT_STACK, (1 << 28, -1)); print('deep')",
            "",
            "deep\n",
            id="asks for a deeper stack",
        ),
        pytest.param("import asyncio; print(asyncio.run(asyncio.sleep(0, 5)))", "", "5\n", id="an event loop"),
        pytest.param("import numpy; print(numpy.arange(4) @ numpy.arange(4))", "", "14\n", id="an installed package"),
        pytest.param("open('f', 'w').write('kept'); print(open('f').read())", "", "kept\n", id="a file of its own"),
        pytest.param(
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(1))",
            "",
            "P(x=1)\n",
            id="dataclass",
        ),
        pytest.param("from __future__ import annotations\nx: Undefined = 1\nprint(x)", "", "1\n", id="future"),
        pytest.param("print(list({'b', 'a', 'c', 'd'}) == list({'b', 'a', 'c', 'd'}))", "", "True\n", id="sets"),
        pytest.param("import os; print(os.getcwd() and os.listdir('.'))", "", "[]\n", id="an empty folder"),
        pytest.param("import time; print(time.localtime().tm_zone is not None)", "", "True\n", id="time"),
    ],
)
def test_a_program_runs_as_it_would_elsewhere(sandbox: Sandbox, source: str, stdin: str, stdout: str) -> None:
    run = sandbox.run(Program(source, stdin))
    assert (run.stdout, run.stderr, run.ending, run.code) == (stdout, "", Ending.EXITED, 0)
    assert run.succeeded


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        pytest.param("import sys; sys.exit(3)", 3, "", id="an exit code"),
        pytest.param("import sys; sys.exit('no way')", 1, "no way\n", id="an exit with words"),
        pytest.param(
            "1 / 0", 1, 'program.py", line 1, in <module>\nZeroDivisionError: division by zero\n', id="an error"
        ),
        pytest.param("x =", 1, "SyntaxError: invalid syntax\n", id="no Python"),
        pytest.param("x = '\ud800'", 1, "", id="no text at all"),
        pytest.param("import os; os._exit(7)", 7, "", id="leaves at once"),
        pytest.param("bytearray(1 << 40)", 1, "MemoryError\n", id="too much memory"),
    ],
)
def test_a_program_that_fails_says_how(sandbox: Sandbox, source: str, code: int, said: str) -> None:
    run = sandbox.run(Program(source))
    assert (run.ending, run.code) == (Ending.EXITED, code)
    assert run.stderr.endswith(said)
    assert "sandbox" not in run.stderr, "it shows the program's own lines only"
    assert not run.succeeded


def test_what_a_program_printed_before_its_time_was_up_is_kept() -> None:
    with Sandbox(Limits(wall_seconds=1)) as sandbox:
        run = sandbox.run(Program("print('so far', flush=True)\nwhile True: pass"))
        assert (run.ending, run.stdout) == (Ending.TIMED_OUT, "so far\n")
        assert 1 <= run.seconds < 10


def test_programs_run_side_by_side_and_each_gets_its_own_output(sandbox: Sandbox) -> None:
    meeting = "import time; time.sleep(0.5); print(input())"
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda n: sandbox.run(Program(meeting, f"{n}\n")), range(8)))
    assert [run.stdout for run in runs] == [f"{n}\n" for n in range(8)]


def test_whatever_happens_to_the_process_that_runs_programs_the_next_one_runs() -> None:
    others = set(psutil.Process().children())
    with Sandbox(Limits(wall_seconds=60)) as sandbox:
        for _ in range(3):
            assert sandbox.run(Program("print(1)")).stdout == "1\n"
            (zygote,) = set(psutil.Process().children()) - others
            threading.Timer(0.3, zygote.kill).start()
            run = sandbox.run(Program("import time; time.sleep(30)"))
            assert (run.ending, run.stderr) == (Ending.KILLED, "the process that ran it died")
            assert run.seconds < 20


def test_a_run_that_is_interrupted_leaves_no_output_to_the_next() -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Sandbox(Limits(wall_seconds=60)) as sandbox:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                sandbox.run(Program("import time; time.sleep(1); print('old')"))
            assert sandbox.run(Program("print('new')")).stdout == "new\n"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_numbers_of_system_calls_are_those_of_the_kernel() -> None:
    machines = (pyseccomp.Arch.X86_64, pyseccomp.Arch.AARCH64)
    known = {name: tuple(pyseccomp.resolve_syscall(machine, name) for machine in machines) for name in _NUMBERS}
    assert {name: tuple(-1 if n is None else n for n in pair) for name, pair in _NUMBERS.items()} == {
        name: tuple(max(-1, number) for number in pair) for name, pair in known.items()
    }


WITHOUT_LANDLOCK = """
import errno, pyseccomp, sys
old_kernel = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
old_kernel.add_rule(pyseccomp.ERRNO(errno.ENOSYS), 444)
old_kernel.load()
from branchmerge_trainer.sandbox.program import Limits, Program
from branchmerge_trainer.sandbox.sandbox import Sandbox
with Sandbox(Limits(wall_seconds=2, output_bytes=100), allow_unsandboxed=sys.argv[1] == "yes") as sandbox:
    print(sandbox.isolated, sandbox.run(Program(sys.stdin.read())))
"""


def on_an_old_kernel(source: str, *, allow_unsandboxed: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_LANDLOCK, "yes" if allow_unsandboxed else "no"],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_kernel_that_cannot_isolate_is_refused_with_what_it_lacks() -> None:
    run = on_an_old_kernel("print(1)", allow_unsandboxed=False)
    assert run.returncode == 1
    assert "programs cannot be isolated here: the kernel lacks Landlock (Linux 5.13 or later" in run.stderr
    assert "Function not implemented" in run.stderr


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({path!r}, "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(0.3)
"""


def test_where_the_user_allows_it_programs_run_under_limits_alone_and_still_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    started = tmp_path / "pid"
    run = on_an_old_kernel(DAEMON.replace("{path!r}", repr(str(started))), allow_unsandboxed=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("False Run(ending=<Ending.EXITED: 'exited'>, code=0")
    assert not psutil.pid_exists(int(started.read_text())), "a daemon of the program ended with it"
    assert "Ending.TOO_MUCH_OUTPUT" in on_an_old_kernel("print('x' * 10**6)", allow_unsandboxed=True).stdout


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox knows no such machine")
def test_a_sandbox_leaves_no_process_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(psutil.Process().children())
    with Sandbox(workers=2) as sandbox:
        sandbox.run(Program("open('file', 'w').write('x')"))
        assert list(tmp_path.iterdir())
    assert set(psutil.Process().children()) == before
    assert list(tmp_path.iterdir()) == []

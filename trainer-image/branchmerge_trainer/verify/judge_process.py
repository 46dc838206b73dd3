"""Judgements that may never end, or take all memory: each is made in a process that can be given up."""

from __future__ import annotations

import multiprocessing
import queue
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from branchmerge_trainer.signals import die_with_parent
from branchmerge_trainer.verify.verdict import Reason, Verdict

_STARTING_SECONDS = 120.0
"""Time to import sympy on a busy machine."""
_MEMORY_BYTES = 4 << 30

Judgement = Callable[..., Verdict]
"""A function of a module, so that another process finds it."""


class JudgeProcesses:
    """Processes that judge answers. Use them as a context manager, from as many threads as you like.

    Each starts at its first question, and again where one of its questions killed it.
    """

    def __init__(self, judgement: Judgement, prepare: Callable[[], None], seconds: float, workers: int = 1) -> None:
        """Nothing starts yet.

        Args:
            judgement: what is called with the arguments of `judge`.
            prepare: called once in each process, before the clock of its first question runs.
            seconds: longest judgement; an answer that takes longer is wrong.
            workers: how many answers are judged at the same time.
        """
        self._starter = ThreadPoolExecutor(1)  # the kernel ends a process with the thread that started it
        self._processes = [_JudgeProcess(judgement, prepare, seconds, self._starter) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_JudgeProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.stop()
        self._starter.shutdown()

    def judge(self, *arguments: object) -> Verdict:
        """What the judgement says; waits for its turn where all workers are busy."""
        with self._worker() as process:
            return process.judge(arguments)

    @contextmanager
    def _worker(self) -> Iterator[_JudgeProcess]:
        process = self._idle.get()
        try:
            yield process
        finally:
            self._idle.put(process)


class _JudgeProcess:
    """One of them."""

    def __init__(
        self, judgement: Judgement, prepare: Callable[[], None], seconds: float, starter: ThreadPoolExecutor
    ) -> None:
        self._starter = starter
        self._judgement = judgement
        self._prepare = prepare
        self._seconds = seconds
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def judge(self, arguments: tuple[object, ...]) -> Verdict:
        connection = self._ready()
        try:
            connection.send(arguments)
            if connection.poll(self._seconds):
                verdict: Verdict = connection.recv()
                return verdict
            reason = Reason.TIMED_OUT
        except (EOFError, OSError):
            reason = Reason.CRASHED  # it died over this answer, such as from lack of memory
        except BaseException:  # we are told to stop: its verdict would be taken for that on the next answer
            self.stop()
            raise
        self.stop()
        return Verdict(reason, None)

    def _ready(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self.stop()
        return self._start()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._judgement, self._prepare), daemon=True)
        self._starter.submit(self._process.start).result()
        theirs.close()
        self._connection = ours
        try:
            if ours.poll(_STARTING_SECONDS):
                ours.recv()
                return ours
        except EOFError:
            pass  # it said why on standard error
        raise RuntimeError("a process that judges answers did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _serve(connection: Connection, judgement: Judgement, prepare: Callable[[], None]) -> None:
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    prepare()
    connection.send("ready")
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(judgement(*arguments))
        except MemoryError:
            connection.send(Verdict(Reason.CRASHED, None, "out of memory"))

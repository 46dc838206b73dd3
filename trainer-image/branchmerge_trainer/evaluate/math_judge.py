"""Whether two mathematical answers are equivalent, by math-verify in a process of its own.

math-verify guards itself by SIGALRM, which needs a main thread and cannot stop a computation inside C (`9**9**9`). In a
process of its own a judgement can be given up, and its memory is bounded.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from branchmerge_trainer.evaluate.scoring import NO_ANSWER, Verdict
from branchmerge_trainer.signals import die_with_parent

_JUDGEMENT_SECONDS = 30.0
_STARTING_SECONDS = 120.0
"""Time to import sympy on a busy machine."""
_MEMORY_BYTES = 4 << 30


class MathJudge:
    """A process that compares answers. Use it as a context manager; the process starts at the first question."""

    def __init__(self, seconds: float = _JUDGEMENT_SECONDS) -> None:
        """`seconds`: longest judgement; an answer that takes longer is wrong."""
        self._seconds = seconds
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop()

    def judge(self, text: str, answer: str) -> Verdict:
        """Compare what the model concluded with the reference."""
        connection = self._ready()
        try:
            connection.send((text, answer))
            if connection.poll(self._seconds):
                verdict: Verdict = connection.recv()
                return verdict
        except (EOFError, OSError):
            pass  # the process died over this answer, such as from lack of memory
        self._stop()
        return NO_ANSWER

    def _ready(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self._stop()
        return self._start()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._connection = ours
        try:
            if ours.poll(_STARTING_SECONDS):
                ours.recv()
                return ours
        except EOFError:
            pass  # it said why on standard error
        raise RuntimeError("the process that judges mathematics did not start")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def equivalent(text: str, answer: str) -> Verdict:
    r"""Compare two answers: the last `\boxed{…}` of the text, else the last expression in it, else all of it."""
    from math_verify import verify

    reference = _expressions(answer.strip().strip("$"), whole=True)
    boxed = last_boxed(text)
    found = _expressions(boxed, whole=True) if boxed is not None else _expressions(text, whole=False)
    if boxed is None and not found:
        found = _expressions(text, whole=True)
    shown = boxed if boxed is not None else str(found[-1]) if found else None
    if shown is None:
        return NO_ANSWER
    return Verdict(shown.strip() == answer.strip() or bool(verify(reference, found)), shown)


def last_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{…}`, by counting braces."""
    start = text.rfind(r"\boxed{")
    while start >= 0:
        depth, first = 0, start + len(r"\boxed{")
        for index in range(first - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[index], 0)
            if depth == 0:
                return text[first:index]
        start = text.rfind(r"\boxed{", 0, start)
    return None


def _expressions(text: str, *, whole: bool) -> list[object]:
    """What math-verify reads: in the text as `whole`, or the last expression somewhere in it."""
    from math_verify import LatexExtractionConfig, parse

    found: list[object]
    if whole:
        found = parse(rf"\boxed{{{text}}}", extraction_config=[LatexExtractionConfig(boxed_match_priority=0)])
    else:
        found = parse(text)
    return found


def _serve(connection: Connection) -> None:
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    import math_verify  # noqa: F401 - now, so that the first judgement has all its time

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns with the whole text of an answer
    connection.send("ready")
    while True:
        try:
            text, answer = connection.recv()
        except EOFError:
            return
        try:
            connection.send(equivalent(text, answer))
        except MemoryError:
            connection.send(NO_ANSWER)

"""Whether two mathematical answers are equivalent, by math-verify in a process of its own.

math-verify guards itself by SIGALRM, which needs a main thread and cannot stop a computation inside C (`9**9**9`). In a
process of its own a judgement can be given up, and its memory is bounded.
"""

from __future__ import annotations

import logging

from branchmerge_trainer.verify.judge_process import JudgeProcesses
from branchmerge_trainer.verify.verdict import NO_ANSWER, Verdict, compared

_JUDGEMENT_SECONDS = 30.0


class MathJudge(JudgeProcesses):
    """Processes that compare answers: `judge(text, answer)`."""

    def __init__(self, seconds: float = _JUDGEMENT_SECONDS, workers: int = 1) -> None:
        super().__init__(equivalent, _prepare, seconds, workers)


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
    return compared(shown.strip() == answer.strip() or bool(verify(reference, found)), shown)


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


def _prepare() -> None:
    import math_verify  # noqa: F401 - now, so that the first judgement has all its time

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns with the whole text of an answer

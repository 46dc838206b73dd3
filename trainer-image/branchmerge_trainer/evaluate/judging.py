"""Whether the answers to a suite's questions are right."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from branchmerge.api.evaluation import ScoreMethod, Suite
from branchmerge_trainer.evaluate.suites import Question
from branchmerge_trainer.sandbox.sandbox import Sandbox
from branchmerge_trainer.verify.code import score_code
from branchmerge_trainer.verify.math_judge import MathJudge
from branchmerge_trainer.verify.parallel import in_order
from branchmerge_trainer.verify.text import final_text, score_choice, score_exact
from branchmerge_trainer.verify.verdict import NO_END_OF_TRACE, Verdict
from branchmerge_trainer.verify.verifier import open_sandbox

CODE_SECONDS = 30.0
"""Longest run of one question's tests, as of a branch's `data.verify.timeoutSeconds`."""


@dataclass(frozen=True)
class Completed:
    """What a model wrote on a question."""

    question: Question
    prompt: str
    completion: str


@dataclass(frozen=True)
class Judges:
    """Judges of every method that some suites need."""

    workers: int
    mathematics: MathJudge
    sandbox: Sandbox | None
    """There where a suite runs code."""

    def judge(self, suite: Suite, completed: Iterable[Completed]) -> Iterator[Verdict]:
        """The verdicts, in order; those that take a process are found side by side."""
        inline = suite.method in (ScoreMethod.EXACT, ScoreMethod.CHOICE)
        return in_order(lambda one: self._verdict(suite, one), completed, 1 if inline else self.workers)

    def _verdict(self, suite: Suite, completed: Completed) -> Verdict:
        question, text = completed.question, final_text(completed.prompt, completed.completion)
        if text is None:
            return NO_END_OF_TRACE
        match suite.method:
            case ScoreMethod.EXACT:
                return score_exact(text, question.answer)
            case ScoreMethod.CHOICE:
                return score_choice(text, question.answer, question.choices)
            case ScoreMethod.MATH:
                return self.mathematics.judge(text, question.answer)
        assert suite.runs_code, "a suite has one of the four methods"
        assert question.tests is not None, "read with the suite"
        assert self.sandbox is not None, "opened with the suites"
        return score_code(text, question.tests, self.sandbox, CODE_SECONDS)


@contextmanager
def open_judges(suites: Sequence[Suite]) -> Iterator[Judges]:
    """Judges for these suites. Raises InputError where one runs code, and this machine cannot isolate it."""
    workers = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        mathematics = stack.enter_context(MathJudge(workers=workers))
        coding = [suite for suite in suites if suite.runs_code]
        careful = next((suite for suite in coding if not suite.allow_unsandboxed), None)
        sandbox = None
        if coding:
            field = f"suite {(careful or coding[0]).name}"
            sandbox = stack.enter_context(open_sandbox(workers, field, allow_unsandboxed=careful is None))
        yield Judges(workers, mathematics, sandbox)

"""The steps of a curation in which other models take part, or a method that needs processes of its own.

A teacher answers prompts; a verifier, or a judge, says which answers are right. Both are open for as long as the
curation runs, and what was asked of them is told at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from branchmerge.api.endpoint import Endpoint
from branchmerge.api.stage import JUDGE_KEY_ENV, TEACHER_KEY_ENV, CurateTask
from branchmerge.api.verification import Verify
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.sources import count_rows, place_of
from branchmerge_trainer.curate.teacher.ask import ask
from branchmerge_trainer.curate.teacher.asker import Standing
from branchmerge_trainer.curate.teacher.judge import judged
from branchmerge_trainer.curate.teacher.session import Report, to_progress
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import StageContext
from branchmerge_trainer.verify.filters import SamplesOf, passed, verified
from branchmerge_trainer.verify.verifier import Verifier, open_verifier

_CENT_OF_A_CENT = Decimal("0.0001")


@dataclass
class Asked:
    """What was asked of one endpoint, over all attempts."""

    who: str
    """`teacher` or `judge`."""
    endpoint: Endpoint
    answers: int = 0
    standing: Standing | None = None

    def reporting(self, progress: ProgressReporter, requests: int | None) -> Report:
        """The report of a session whose steps are `requests` in all, if that is known; its last standing is kept."""
        report, before = to_progress(progress, f"asking the {self.who}", requests), self.answers

        def kept(standing: Standing) -> None:
            self.answers, self.standing = before + standing.answered, standing
            report(standing)

        return kept

    @property
    def figures(self) -> dict[str, float]:
        """Tokens and money, for the stage's result."""
        assert self.standing is not None, "asked before it is told"
        figures = {f"{self.who}_tokens": float(self.standing.spent.tokens)}
        if self.standing.currency is not None:
            figures[f"{self.who}_cost"] = float(self.standing.cost)
        return figures

    def to_json(self) -> dict[str, Any]:
        """As it stands in `funnel.json`."""
        assert self.standing is not None, "asked before it is told"
        spent, currency = self.standing.spent, self.standing.currency
        return {
            "who": self.who,
            "model": self.endpoint.model,
            "answers": self.answers,
            "promptTokens": spent.prompt_tokens,
            "completionTokens": spent.completion_tokens,
            "cost": None if currency is None else f"{self.standing.cost.quantize(_CENT_OF_A_CENT)}",
            "currency": currency,
        }


class Teaching:
    """Prompts become candidates, as many as the branch's teacher gives answers. Complete rows pass as they are."""

    def __init__(self, task: CurateTask, context: StageContext) -> None:
        assert task.teacher is not None, "the plan names a teacher where there are prompts"
        assert task.answers is not None, "the plan says where its answers are kept"
        self._teacher = task.teacher
        self._prompts = [source.prompts is not None for source in task.data.sources]
        self.becomes = _samples_of(task)
        """How many candidates one becomes, those without an answer included."""
        self._folder = context.workspace.path(task.answers)
        self._requests = _requests(task, context)
        self._field = f"branch {task.branch}: teacher"
        self._progress = context.progress
        self.asked = Asked("teacher", task.teacher)

    def answered(self, candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
        """Complete rows, and the answers to prompts. The answers to one prompt come together."""
        for is_prompt, group in groupby(candidates, key=lambda candidate: self._prompts[candidate.source]):
            if not is_prompt:
                yield from group
                continue
            report = self.asked.reporting(self._progress, self._requests)
            key = os.environ.get(TEACHER_KEY_ENV)
            with closing(ask(group, self._teacher, self._folder, key, report, drop, self._field)) as answers:
                for samples in answers:
                    yield from (sample.candidate() for sample in samples)


class Verification:
    """Keeps right answers, of prompts whose pass rate is within its limits."""

    def __init__(self, task: CurateTask, context: StageContext, stack: ExitStack) -> None:
        """`stack`: closes what the method needs."""
        verify = task.data.verify
        assert verify is not None, "opened where answers are verified"
        self._verify: Verify = verify
        self._samples_of = _samples_of(task)
        self._verdicts = None if task.verdicts is None else context.workspace.path(task.verdicts)
        self._verifier: Verifier | None = None
        self._progress = context.progress
        self._field = f"branch {task.branch}: data.verify.judge"
        self._rates: Counter[tuple[int, int]] = Counter()
        self.asked: Asked | None = None
        if verify.judge is not None:
            self.asked = Asked("judge", verify.judge)
        else:
            sources = task.data.sources
            self._verifier = stack.enter_context(
                open_verifier(verify, lambda each: place_of(task.branch, sources, each.source, each.row))
            )

    def kept(self, candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
        """Those that are right."""
        if self._verifier is not None:
            yield from verified(candidates, self._verifier, self._verify, drop, self._samples_of, self._count)
            return
        judge, asked = self._verify.judge, self.asked
        assert judge is not None, "validated: method judge has a judge"
        assert asked is not None, "a judge is asked"
        assert self._verdicts is not None, "the plan says where verdicts are kept"
        report = asked.reporting(self._progress, None)
        key = os.environ.get(JUDGE_KEY_ENV)
        verdicts = judged(candidates, judge, self._verify.reference, self._verdicts, key, report, drop, self._field)
        with closing(verdicts):
            yield from passed(verdicts, self._verify, drop, self._samples_of, self._count)

    def _count(self, right: int, of: int) -> None:
        self._rates[right, of] += 1

    @property
    def pass_rate(self) -> float | None:
        """Mean over prompts; None where none was judged."""
        prompts = self._rates.total()
        return sum(right / of * count for (right, of), count in self._rates.items()) / prompts if prompts else None

    def to_json(self) -> dict[str, Any]:
        """The pass rates, as they stand in `funnel.json`."""
        histogram = [[right, of, count] for (right, of), count in sorted(self._rates.items())]
        return {"prompts": self._rates.total(), "mean": self.pass_rate, "histogram": histogram}


def _samples_of(task: CurateTask) -> SamplesOf:
    """As many as the teacher is asked for; a complete row is its own answer."""
    samples = 1 if task.teacher is None else task.teacher.sampling.samples
    counts = [samples if source.prompts is not None else 1 for source in task.data.sources]
    return lambda candidate: counts[candidate.source]


def _requests(task: CurateTask, context: StageContext) -> int | None:
    """How many answers are wanted in all; None where a source does not tell its rows, or has complete ones."""
    assert task.teacher is not None
    counts = [count_rows(source, context.workspace) if source.prompts else None for source in task.data.sources]
    known = [count for count in counts if count is not None]
    return sum(known) * task.teacher.sampling.samples if len(known) == len(counts) else None

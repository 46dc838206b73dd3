"""The curation of a branch: a row passes one filter after another, and each that goes no further is counted."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from branchmerge.api.errors import InputError
from branchmerge.api.stage import CurateTask
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.card import write_card
from branchmerge_trainer.curate.dataset import DIGEST_FILE, RowsWriter
from branchmerge_trainer.curate.decontaminate import QuestionIndex, without_contamination
from branchmerge_trainer.curate.dedup import without_near_repeats, without_repeats
from branchmerge_trainer.curate.endpoints import Teaching, Verification
from branchmerge_trainer.curate.funnel import Filter, Funnel
from branchmerge_trainer.curate.lengths import open_counter, within_characters, within_tokens
from branchmerge_trainer.curate.mixing import Mixer
from branchmerge_trainer.curate.reading import Reader
from branchmerge_trainer.curate.require import required
from branchmerge_trainer.curate.sources import name_of
from branchmerge_trainer.evaluate.suites import read_questions
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.verify.filters import selected
from branchmerge_trainer.workspace import Workspace

_REPORT_EVERY_ROWS = 500
_SPOOL_FILE = "rows.spool"

Item = TypeVar("Item")


def run(task: CurateTask, context: StageContext, folder: Path) -> Findings:
    """Write `rows.parquet`, its digest, `funnel.json` and a data card.

    Raises InputError at the first row that has not the columns it should have, and where no row is left.
    """
    with ExitStack() as stack:
        return _curated(task, context, folder, stack)


def _curated(task: CurateTask, context: StageContext, folder: Path, stack: ExitStack) -> Findings:
    data = task.data
    teaching = Teaching(task, context) if data.asks else None
    verification = Verification(task, context, stack) if data.verify is not None else None
    asked = [each.asked for each in (teaching, verification) if each is not None and each.asked is not None]

    reader = Reader(task.branch, data, context.workspace)
    mixer = Mixer(data, context.work / _SPOOL_FILE)
    funnel = Funnel()
    raw = reader.rows() if asked else _told(reader.rows(), "reading rows", context.progress)
    rows = funnel.through("read", raw, reader.shaped)
    if teaching is not None:
        rows = funnel.through("ask the teacher", rows, teaching.answered, teaching.becomes)
    if data.require is not None:
        rows = funnel.through("require", rows, partial(required, require=data.require))
    if verification is not None:
        rows = funnel.through("verify", rows, verification.kept)
    for name, filter_ in _filters(task, context.workspace):
        rows = funnel.through(name, rows, filter_)
    rows = funnel.through("cap and order", rows, mixer.mixed)
    if mixer.waits:
        rows = _told(rows, "writing rows", context.progress)
    with RowsWriter(folder) as writer:
        for row in stack.enter_context(closing(rows)):
            writer.add(row)
    if not writer.figures["rows"]:
        raise InputError(_nothing_left(task, funnel.dropped))
    told = [each for each in asked if each.standing is not None]
    rates = None if verification is None else verification.to_json()
    funnel.write(folder, passRates=rates, asked=[each.to_json() for each in told])
    write_card(folder, context.config.job, task, funnel, writer)
    figures = {name: float(value) for name, value in writer.figures.items()}
    for each in told:
        figures |= each.figures
    if verification is not None and verification.pass_rate is not None:
        figures["pass_rate"] = verification.pass_rate
    return Findings(figures=figures, dropped=funnel.dropped, content=[DIGEST_FILE])


def _filters(task: CurateTask, workspace: Workspace) -> Iterator[tuple[str, Filter[Candidate]]]:
    """What else the branch asks for: the name of each step and its filter, in the order in which a row passes them."""
    data = task.data
    if data.limits is not None and data.limits.max_characters is not None:
        yield "limit characters", partial(within_characters, most=data.limits.max_characters)
    if data.limits is not None and data.limits.count_tokens:
        assert task.student is not None, "the plan names the student where tokens are limited"
        counter = open_counter(task.student, workspace)
        yield "limit tokens", partial(within_tokens, limits=data.limits, count=counter)
    if data.select is not None:  # after the limits: what they drop is no choice
        yield "select", partial(selected, select=data.select)
    if data.deduplicate is not None and data.deduplicate.exact:
        yield "deduplicate", without_repeats
    if data.deduplicate is not None and data.deduplicate.near_threshold is not None:
        yield "deduplicate near", partial(without_near_repeats, threshold=data.deduplicate.near_threshold)
    if data.decontaminate is not None:
        questions = _questions(task, data.decontaminate.ngram, workspace)
        yield "decontaminate", partial(without_contamination, questions=questions)


def _questions(task: CurateTask, ngram: int, workspace: Workspace) -> QuestionIndex:
    suites = {
        suite.name: {question.id: question.messages for question in read_questions(suite, workspace)}
        for suite in task.suites
    }
    return QuestionIndex(suites, ngram)


def _told(items: Iterable[Item], phase: str, progress: ProgressReporter) -> Generator[Item, None, None]:
    """The items; how many were taken is the step of the phase, which begins with the first."""
    progress.phase(phase, step=0)
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if count % _REPORT_EVERY_ROWS == 0:
            progress.advance(count)
    progress.advance(count)


def _nothing_left(task: CurateTask, dropped: dict[str, int]) -> str:
    sources = ", ".join(name_of(source) for source in task.data.sources)
    if not dropped:
        return f"branch {task.branch}: data.sources: {sources}: no rows: name a source that has some"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items(), key=lambda item: -item[1]))
    fix = "raise the limits of the teacher" if "teacher: budget spent" in dropped else "fix the rows or the limits"
    return f"branch {task.branch}: data.sources: {sources}: every row was dropped ({reasons}): {fix}"

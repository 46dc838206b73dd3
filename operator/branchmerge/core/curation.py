"""What a curation is told: its sources at their commits, who answers and judges, and where what they said is kept."""

from __future__ import annotations

from collections.abc import Sequence

from branchmerge.api.data import DataSpec, Source
from branchmerge.api.evaluation import Evaluation
from branchmerge.api.resource import Branch
from branchmerge.api.stage import CurateTask, ModelRef
from branchmerge.api.teacher import Teacher
from branchmerge.core.fingerprint import fingerprint
from branchmerge.core.ingredients import said_by
from branchmerge.core.inputs import InputRef, Pins
from branchmerge.core.naming import answers_folder


def curate_task(
    job: str,
    branch: Branch,
    refs: Sequence[InputRef],
    pins: Pins,
    teacher: Teacher | None,
    evaluation: Evaluation | None,
    student: ModelRef,
) -> CurateTask:
    """The task of `curate/<branch>`.

    `refs`: the branch's sources. `teacher`: who answers its prompts, None where it has none.
    """
    data = branch.data
    judge = data.verify.judge if data.verify else None
    compares = data.decontaminate is not None and evaluation is not None
    return CurateTask(
        branch=branch.name,
        data=_at_commits(data, refs, pins),
        teacher=teacher,
        suites=evaluation.suites if compares and evaluation else [],
        student=student if counts_tokens(data) else None,
        answers=None if teacher is None else answers_folder(job, branch.name, "teacher", fingerprint(said_by(teacher))),
        verdicts=None if judge is None else answers_folder(job, branch.name, "judge", fingerprint(said_by(judge))),
    )


def counts_tokens(data: DataSpec) -> bool:
    """Whether the student's tokenizer says which rows are kept."""
    return data.limits is not None and data.limits.count_tokens


def _at_commits(data: DataSpec, refs: Sequence[InputRef], pins: Pins) -> DataSpec:
    """The branch's data, its Hub data sets at the commits that they were resolved to."""
    sources = [_at_commit(source, ref.commit(pins)) for source, ref in zip(data.sources, refs, strict=True)]
    return data.model_copy(update={"sources": sources})


def _at_commit(source: Source, commit: str | None) -> Source:
    """The source, its Hub data set at the commit that it was resolved to."""
    if source.hub_dataset is None or commit is None:
        return source
    pinned = {"dataset": source.hub_dataset.model_copy(update={"revision": commit})}
    if source.prompts is None:
        return source.model_copy(update=pinned)
    return source.model_copy(update={"prompts": source.prompts.model_copy(update=pinned)})

"""The curation of a branch: every source's rows, in order, in one shape, each dropped one counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from branchmerge.api.data import RowLimits
from branchmerge.api.errors import InputError
from branchmerge.api.stage import CurateTask
from branchmerge_trainer.curate.rows import ROWS_FILE, Message, RowError, UnusableRow, messages_of
from branchmerge_trainer.curate.sources import name_of, read_rows
from branchmerge_trainer.runtime import Findings, StageContext

_REPORT_EVERY_ROWS = 1000


def run(task: CurateTask, context: StageContext, folder: Path) -> Findings:
    """Write `rows.jsonl`, one `{"messages": [...]}` a line.

    Raises InputError at the first row that has not the columns it should have, and where no row is left.
    """
    limits = task.data.limits or RowLimits()
    dropped: Counter[str] = Counter()
    kept = characters = 0
    context.progress.phase("reading rows", step=0)
    with (folder / ROWS_FILE).open("w", encoding="utf-8") as file:
        for messages in _all_messages(task, context, dropped):
            length = sum(len(message["content"]) for message in messages)
            if limits.max_characters is not None and length > limits.max_characters:
                dropped["too long"] += 1
                continue
            if limits.max_rows is not None and kept >= limits.max_rows:
                dropped["over maxRows"] += 1
                continue
            file.write(json.dumps({"messages": messages}, ensure_ascii=False, separators=(",", ":")) + "\n")
            kept += 1
            characters += length
            if kept % _REPORT_EVERY_ROWS == 0:
                context.progress.advance(kept)
    if kept == 0:
        raise InputError(_nothing_left(task, dropped))
    context.progress.advance(kept)
    figures = {"rows": float(kept), "characters": float(characters)}
    return Findings(figures=figures, dropped=dict(dropped), content=[ROWS_FILE])


def _all_messages(task: CurateTask, context: StageContext, dropped: Counter[str]) -> Iterator[list[Message]]:
    for index, source in enumerate(task.data.sources):
        where = f"branch {task.branch}: data.sources[{index}]"
        for number, row in read_rows(source, context.workspace, where):
            try:
                yield messages_of(row, source.resolved_columns)
            except RowError as error:
                raise InputError(f"{where}: {name_of(source)}, row {number}: {error}") from None
            except UnusableRow as unusable:
                dropped[unusable.reason] += 1


def _nothing_left(task: CurateTask, dropped: Counter[str]) -> str:
    sources = ", ".join(name_of(source) for source in task.data.sources)
    if not dropped:
        return f"branch {task.branch}: data.sources: {sources}: no rows: name a source that has some"
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    return (
        f"branch {task.branch}: data.sources: {sources}: every row was dropped ({reasons}): fix the rows or the limits"
    )

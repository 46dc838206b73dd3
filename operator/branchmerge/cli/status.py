"""`branchmerge status`: where a job stands, whether or not somebody works on it."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from branchmerge.api.status import ConditionType, Status
from branchmerge.cli.board import rows_of
from branchmerge.cli.console import output
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import JobPath, WorkspaceOption
from branchmerge.cli.table import stage_table
from branchmerge.local.files import read_record
from branchmerge.local.lock import holder
from branchmerge.local.opening import Opening
from branchmerge.local.view import attempts_of, last_asked, look

_TELLING = frozenset({ConditionType.SUCCEEDED, ConditionType.FAILED, ConditionType.SUSPENDED, ConditionType.STALLED})
"""Conditions that say more than the table does."""


def status(file: JobPath, workspace: WorkspaceOption = None) -> None:
    """Show where a job stands in its folder, and whether a run works on it.

    Example: branchmerge status distillation.yaml
    """
    opening = Opening.of(file, workspace)
    worker = holder(opening.folder.lock)
    attempts = attempts_of(opening.folder)
    now = read_record(opening.folder.status, Status) if worker is not None else None
    if now is None:  # nobody writes it, so it may be older than the file and the folder
        now = look(opening.job, opening.folder, resolve_inputs(opening), last_asked(opening.folder)).status
    console = output()
    summary = [str(now.phase), now.progress or "", f"branches {now.branches}"]
    console.print(Text(opening.job.metadata.name, style="bold"), Text("  ".join(summary)))
    console.print(stage_table(rows_of(now, attempts, datetime.now(UTC)), width=console.width))
    for condition in now.conditions:
        if condition.status == "True" and condition.type in _TELLING:
            console.print(Text(f"{condition.type}: {condition.message}"))
    console.print()
    console.print(_who(file, worker, any(attempt.active for attempt in attempts)), markup=False)


def _who(file: JobPath, worker: int | None, active: bool) -> str:
    if worker is not None:
        return f"a run works on it (process {worker})"
    if active:
        return f"its run is gone, but attempts go on without it: branchmerge run {file} takes them over"
    return "no run works on it"

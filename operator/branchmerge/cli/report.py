"""`branchmerge report`: what a finished job found."""

from __future__ import annotations

import sys
import webbrowser
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from branchmerge.api.stage import StageKind
from branchmerge.cli.console import Exit, complain, is_interactive, output, remark
from branchmerge.cli.ending import REPORT_PAGE, output_of
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import JobPath, WorkspaceOption
from branchmerge.local.opening import Opening
from branchmerge.local.results import lineages
from branchmerge.local.view import look

MODEL_CARD = "README.md"
REPORT_DATA = "report.json"


class Format(StrEnum):
    """What the report is printed as."""

    MD = "md"
    HTML = "html"
    JSON = "json"


_FILES = {Format.MD: MODEL_CARD, Format.HTML: REPORT_PAGE, Format.JSON: REPORT_DATA}


def report(
    file: JobPath,
    workspace: WorkspaceOption = None,
    format_: Annotated[Format, typer.Option("--format", help="Model card, HTML page, or data.")] = Format.MD,
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML page in a browser.")] = False,
) -> None:
    """Print the report of a finished job.

    Example: branchmerge report distillation.yaml --format json
    """
    opening = Opening.of(file, workspace)
    folder = _find(opening)
    if folder is None:
        complain([f"{opening.folder.root}: no report yet: finish the job with branchmerge run {file}"])
        raise typer.Exit(Exit.JOB_FAILED)
    path = folder / (REPORT_PAGE if open_ else _FILES[format_])
    if not path.exists():
        complain([f"{path}: is missing: remove its folder, then branchmerge run {file} writes the report anew"])
        raise typer.Exit(Exit.JOB_FAILED)
    if open_:
        print(path)
        webbrowser.open(path.absolute().as_uri())
        return
    text = path.read_text(encoding="utf-8")
    if format_ is Format.MD and is_interactive():
        from rich.markdown import Markdown  # late: its lexers take longer to import than all the rest

        output().print(Markdown(text))
    else:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _find(opening: Opening) -> Path | None:
    """The report of the job as the file has it; else the newest one, with a remark that it is of an earlier version."""
    view = look(opening.job, opening.folder, resolve_inputs(opening), datetime.now(UTC))
    current = output_of(view.plan.decisions, StageKind.REPORT, opening.folder)
    if current is not None:
        return current
    earlier = [result for result, _ in lineages(opening.folder.stages) if result.stage == StageKind.REPORT]
    if not earlier:
        return None
    remark(f"this report is of an earlier version of the job: branchmerge run {opening.file.path} brings it up to date")
    return opening.folder.stages / StageKind.REPORT / earlier[0].fingerprint[:16]

"""`branchmerge report`: what a finished job found."""

from __future__ import annotations

import sys
import webbrowser
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer

from branchmerge.api.stage import StageKind
from branchmerge.cli.console import failed, is_interactive, output, remark
from branchmerge.cli.ending import REPORT_PAGE, output_of
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import ClusterOption, ContextOption, JobArgument, NamespaceOption, WorkspaceOption
from branchmerge.cli.place import RemoteJob, locate
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
    job: JobArgument,
    workspace: WorkspaceOption = None,
    format_: Annotated[Format, typer.Option("--format", help="Model card, HTML page, or data.")] = Format.MD,
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML page in a browser.")] = False,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Print the report of a finished job. On a cluster, a short-lived pod reads it from the workspace.

    Examples: branchmerge report distillation.yaml --format json; branchmerge report tinyr1-32b -n team-a --open
    """
    place = locate(job, cluster=cluster, context=context, namespace=namespace, workspace=workspace)
    file = REPORT_PAGE if open_ else _FILES[format_]
    if isinstance(place, RemoteJob):
        from branchmerge.cli.remote.report import fetch_report  # late: the Kubernetes client is an extra

        content = fetch_report(place, file)
        if open_:
            _open(_kept(content, place.name))
            return
    else:
        path = _file(Opening.of(place, workspace), file)
        if open_:
            _open(path)
            return
        content = path.read_bytes()
    _print(content.decode(), format_)


def _print(text: str, format_: Format) -> None:
    if format_ is Format.MD and is_interactive():
        from rich.markdown import Markdown  # late: its lexers take longer to import than all the rest

        output().print(Markdown(text))
    else:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _open(page: Path) -> None:
    print(page)
    webbrowser.open(page.absolute().as_uri())


def _kept(content: bytes, job: str) -> Path:
    """The page as a file that the browser can read when this process is gone."""
    with NamedTemporaryFile(prefix=f"{job}-", suffix=f"-{REPORT_PAGE}", delete=False) as file:
        file.write(content)
    return Path(file.name)


def _file(opening: Opening, name: str) -> Path:
    """A file of the report in the run's folder."""
    folder = _find(opening)
    if folder is None:
        raise failed(f"{opening.folder.root}: no report yet: finish the job with branchmerge run {opening.file.path}")
    path = folder / name
    if not path.exists():
        raise failed(
            f"{path}: is missing: remove its folder, then branchmerge run {opening.file.path} writes the report anew"
        )
    return path


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

"""`branchmerge plan`: what a run would do, why, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from branchmerge.api.resource import Spec
from branchmerge.api.stage import StageKind
from branchmerge.cli.asking import asked
from branchmerge.cli.console import output
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import JobPath, WorkspaceOption
from branchmerge.cli.pricing import Estimate, detectable_gain, estimates
from branchmerge.cli.words import duration, plural
from branchmerge.local.layout import RunFolder
from branchmerge.local.locations import local_path
from branchmerge.local.opening import Opening
from branchmerge.local.results import lineages
from branchmerge.local.view import look

_STYLES = {"cached": "green", "run": "cyan", "resume": "cyan", "running": "cyan", "later": "dim"}


def plan(file: JobPath, workspace: WorkspaceOption = None) -> None:
    """Show what a run would do now: every stage with its fingerprint, whether it would run, and why. Starts nothing.

    Example: branchmerge plan distillation.yaml
    """
    opening = Opening.of(file, workspace)
    opening.check_inputs()
    view = look(opening.job, opening.folder, resolve_inputs(opening), datetime.now(UTC))
    found = estimates(view.plan, lineages(opening.folder.stages), _unfinished(opening.folder))
    console = output()
    console.print(_table(found))
    console.print()
    console.print(_price(found), markup=False)
    for line in asked(opening.job.spec, opening.file.inputs, _curated(found)):
        console.print(line, markup=False)
    for line in _gains(opening.job.spec, opening.file.inputs):
        console.print(line, markup=False)


def _unfinished(folder: RunFolder) -> frozenset[str]:
    """Output folders, relative to the workspace, that have unfinished work beside them."""
    works = [path for path in folder.stages.glob("**/*.work") if any(path.iterdir())]
    return frozenset(path.relative_to(folder.root).as_posix().removesuffix(".work") for path in works)


def _table(found: Sequence[Estimate]) -> Table:
    gpus = any(each.gpus for each in found)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("stage", "fp", "does"):
        table.add_column(title, no_wrap=True)
    for title in (*(["GPUs"] if gpus else []), "last"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("why", overflow="fold")
    for each in found:
        last = "" if each.seconds is None else duration(each.seconds)
        figures = (*([str(each.gpus or "")] if gpus else []), last)
        does = Text(each.does, style=_STYLES[each.does])
        table.add_row(each.stage, each.fingerprint, does, *figures, Text(each.why))
    return table


def _price(found: Sequence[Estimate]) -> str:
    costly = [each for each in found if each.costs]
    if not costly:
        return "nothing would run: everything is there"
    known = [each for each in costly if each.seconds is not None]
    text = f"{plural(len(costly), 'stage')} of {len(found)} would run"
    if not known:
        return f"{text}; how long they take is not known yet"
    seconds = sum(each.seconds or 0.0 for each in known)
    hours = sum(each.gpus * (each.seconds or 0.0) for each in known) / 3600
    rest = "" if len(known) == len(costly) else f" for the {len(known)} that have run before"
    gpu_hours = f", {hours:.1f} GPU-hours" if hours else ""
    return f"{text}; by their last times {duration(seconds)} one after the other{gpu_hours}{rest}"


def _curated(found: Sequence[Estimate]) -> frozenset[str]:
    """Branches whose curation would run."""
    prefix = f"{StageKind.CURATE}/"
    return frozenset(each.stage.removeprefix(prefix) for each in found if each.costs and each.stage.startswith(prefix))


def _gains(spec: Spec, inputs: Path) -> list[str]:
    """For each gate on a gain, the smallest gain that its suite can tell from chance."""
    if spec.evaluation is None:
        return []
    suites = {suite.name: suite for suite in spec.evaluation.suites}
    lines = []
    for gate in spec.evaluation.gates:
        location = suites[gate.suite].path
        path = None if location is None else local_path(location, inputs)
        if gate.min_gain is None or path is None:
            continue
        with path.open("rb") as file:
            questions = sum(1 for line in file if line.strip())
        lines.append(
            f"gate {gate.suite}: asks for a gain of {gate.min_gain}; with {plural(questions, 'question')} one below "
            f"{detectable_gain(questions):.3f} may be chance"
        )
    return lines

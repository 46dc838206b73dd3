"""What a person reads when a run has ended: scores and paths, or what failed and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from branchmerge.api.stage import StageKind
from branchmerge.api.status import StageState
from branchmerge.cli.console import INTERRUPT_ADVICE, Exit, complain
from branchmerge.cli.scores import Scoreboard
from branchmerge.core.model import FailureClass, JobState, Plan, StageDecision
from branchmerge.local.attempts import AttemptStore
from branchmerge.local.layout import RunFolder

_LOG_LINES = 15
_TAIL_BYTES = 16_384
REPORT_PAGE = "report.html"


def show_ending(console: Console, plan: Plan, folder: RunFolder, file: Path) -> Exit:
    """Print how the job ended. Returns the exit code that says the same."""
    if all(decision.result is not None for decision in plan.decisions):
        _show_outcome(console, plan, folder)
        return Exit.DONE if plan.state is JobState.SUCCEEDED else Exit.JOB_FAILED
    if plan.state is JobState.SUSPENDED:
        console.print(Text(f"stopped; {INTERRUPT_ADVICE}", style="yellow"))
        return Exit.INTERRUPTED
    failed = [decision for decision in plan.decisions if decision.state is StageState.FAILED]
    if not failed:
        complain([plan.message])
        return Exit.JOB_FAILED
    wrong = [decision for decision in failed if _is_users_mistake(decision)]
    for decision in failed:
        _show_failure(console, decision, folder, file)
    return Exit.BAD_INPUT if len(wrong) == len(failed) else Exit.JOB_FAILED


def output_of(decisions: Sequence[StageDecision], kind: StageKind, folder: RunFolder) -> Path | None:
    """Output folder of the last stage of this kind that is done."""
    for decision in reversed(decisions):
        if decision.stage.kind is kind and decision.result is not None and decision.stage.output is not None:
            return folder.root / decision.stage.output
    return None


def shown_path(path: Path) -> str:
    """A path, relative to the current folder where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _show_outcome(console: Console, plan: Plan, folder: RunFolder) -> None:
    board = Scoreboard.of(plan.decisions)
    if board.scores:
        console.print()
        console.print(board.table())
    if board.differences:
        console.print(Text("95% intervals in brackets; second figure: paired difference to the student", style="dim"))
    console.print()
    for gate in board.gates:
        mark, style = ("✓", "green") if gate.passed else ("✗", "bold red")
        console.print(Text(f"{mark} gate {gate.suite}: {gate.message}", style=style))
    if plan.state is JobState.SUCCEEDED:
        console.print(Text(plan.message, style="bold"))
    else:
        console.print(Text(f"{plan.reason}: {plan.message}", style="bold red"))
    report, merged = (output_of(plan.decisions, kind, folder) for kind in (StageKind.REPORT, StageKind.MERGE))
    if report is not None:
        console.print(f"report        {shown_path(report / REPORT_PAGE)}", markup=False)
    if merged is not None:
        console.print(f"merged model  {shown_path(merged)}", markup=False)


def _is_users_mistake(decision: StageDecision) -> bool:
    return bool(decision.attempts) and decision.attempts[-1].failure is FailureClass.PERMANENT


def _show_failure(console: Console, decision: StageDecision, folder: RunFolder, file: Path) -> None:
    name = decision.stage.name
    complain([f"{name}: {decision.reason}"])
    if _is_users_mistake(decision):
        console.print("mend it, then type the same command: what is done is kept", markup=False)
        return
    if decision.attempts:
        attempt = AttemptStore(folder.attempts).folder(decision.attempts[-1].child_name)
        tail = _tail(attempt)
        console.print(Text(f"last lines of its log ({len(tail)}):", style="dim"))
        for line in tail:
            console.print(f"  {line}", markup=False)
    console.print(
        f"the whole log: branchmerge logs {file} {name}\n"
        "then type the same command: finished stages and checkpoints are kept",
        markup=False,
    )


def _tail(attempt: Path) -> list[str]:
    """The last lines of the log that was written to last."""
    logs = sorted(attempt.glob("node-*.log"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return []
    with logs[-1].open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - _TAIL_BYTES))
        return stream.read().decode(errors="replace").splitlines()[-_LOG_LINES:]

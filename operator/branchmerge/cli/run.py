"""`branchmerge run`: carries a job out on this machine."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer

from branchmerge.api.status import StageState
from branchmerge.cli.console import Exit, is_interactive, output, remark
from branchmerge.cli.ending import show_ending
from branchmerge.cli.inputs import resolve_inputs
from branchmerge.cli.options import JobPath, WorkspaceOption
from branchmerge.cli.screen import LiveScreen, PlainScreen, Screen
from branchmerge.core.model import Plan
from branchmerge.local.capacity import Capacity
from branchmerge.local.executor import TRAINER_COMMAND, LocalExecutor
from branchmerge.local.fields import cluster_only
from branchmerge.local.files import write_atomic
from branchmerge.local.keys import Keys, key_problems
from branchmerge.local.lock import held
from branchmerge.local.machine import Machine
from branchmerge.local.models import ModelFacts
from branchmerge.local.opening import Opening
from branchmerge.local.preflight import machine_problems, prepare_folder, trainer_problem
from branchmerge.local.problems import JobInputError
from branchmerge.local.session import Session, Snapshot
from branchmerge.local.space import bytes_needed, space_problem
from branchmerge.local.view import RunRecord, last_asked, look

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    file: JobPath,
    workspace: WorkspaceOption = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Stages that run at a time. Default: by branches, cores and memory."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live table. Default where output is no terminal.")
    ] = False,
    trainer: Annotated[
        str | None,
        typer.Option(
            envvar="BRANCHMERGE_TRAINER",
            metavar="COMMAND",
            help="Command that carries out a stage, where the trainer lives in another Python environment.",
        ),
    ] = None,
) -> None:
    """Run a job on this machine, from YAML to report. The same command resumes one that was interrupted.

    Ctrl-C stops it after a checkpoint; a second Ctrl-C kills it. Exit codes: 0 succeeded, 1 the job failed, 64 the
    input is wrong, 130 interrupted.

    Example: branchmerge run examples/mini/distillation.yaml
    """
    opening = Opening.of(file, workspace)
    opening.check_inputs()
    prepare_folder(opening.folder.root)
    with held(opening.folder.lock):
        code = _run_locked(opening, parallel, shlex.split(trainer) if trainer else None, plain=plain)
    raise typer.Exit(code)


def _run_locked(opening: Opening, parallel: int | None, trainer: list[str] | None, *, plain: bool) -> Exit:
    pins = resolve_inputs(opening)
    asked_at = datetime.now(UTC)
    view = look(opening.job, opening.folder, pins, last_asked(opening.folder) or asked_at)
    if not _missing(view.plan) and not any(attempt.active for attempt in view.observation.attempts):
        return show_ending(output(), view.plan, opening.folder, opening.file.path)
    machine = Machine.detect()
    facts = opening.student_facts()
    capacity = Capacity.of(
        machine,
        branches=len(opening.job.spec.branches),
        parallel=parallel,
        parameters=facts.parameters if facts else None,
    )
    _refuse(opening, view.plan, machine, facts, capacity, own_trainer=trainer is None)
    if fields := cluster_only(opening.job.spec):
        remark(f"apply on a cluster only: {', '.join(fields)}")
    write_atomic(opening.folder.run, RunRecord(started_at=asked_at).to_json())
    executor = LocalExecutor(
        opening.folder,
        opening.file.inputs,
        capacity,
        pins,
        asked_at,
        command=trainer or TRAINER_COMMAND,
        keys=Keys.of(opening.job.spec, os.environ),
    )
    final = _work(opening, executor, plain=plain)
    return show_ending(output(), final.plan, opening.folder, opening.file.path)


def _refuse(
    opening: Opening, plan: Plan, machine: Machine, facts: ModelFacts | None, capacity: Capacity, *, own_trainer: bool
) -> None:
    """Raise JobInputError with everything that stands against the start."""
    spec = opening.job.spec
    problems = machine_problems(opening.file, machine)
    problems += opening.file.place([*key_problems(spec, _missing(plan), os.environ)])
    if spec.suspend:
        problems += opening.file.place(["spec.suspend: true: the job is suspended: set it to false to run it"])
    if own_trainer and (problem := trainer_problem()):
        problems.append(problem)
    if facts is not None:
        needed = bytes_needed(spec, _missing(plan), facts, capacity.parallel)
        if problem := space_problem(opening.folder.root, needed):
            problems.append(problem)
    if problems:
        raise JobInputError(problems)


def _missing(plan: Plan) -> list[str]:
    """Names of the stages that have no output yet."""
    return [decision.stage.name for decision in plan.decisions if decision.state is not StageState.SUCCEEDED]


def _work(opening: Opening, executor: LocalExecutor, *, plain: bool) -> Snapshot:
    screen: LiveScreen | PlainScreen = PlainScreen() if plain or not is_interactive() else LiveScreen(output())
    session = Session(opening.job, executor, screen.update)
    with screen.live() if isinstance(screen, LiveScreen) else nullcontext():
        return asyncio.run(_drive(session, screen))


async def _drive(session: Session, screen: Screen) -> Snapshot:
    """Run the session; the first signal stops it, the second kills."""
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            screen.note("stopping after a checkpoint; Ctrl-C again to kill")
            session.interrupt()
        else:
            screen.note("killing")
            session.kill()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return await session.run()

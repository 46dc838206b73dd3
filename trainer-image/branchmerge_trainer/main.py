"""The main process of a node: does a stage's work, or has ranks do it, and says how it ended."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from branchmerge.api.errors import InputError
from branchmerge.api.stage import (
    SCHEMA_VERSION,
    STAGE_ENV,
    TERMINATION_LOG_DEFAULT,
    TERMINATION_LOG_ENV,
    ExitCode,
    Outcome,
    StageConfig,
    StageResult,
    TrainTask,
)
from branchmerge.api.training import Training
from branchmerge_trainer.failures import Interrupted, log_needed, outcome_of, report
from branchmerge_trainer.launcher import Placement, launch
from branchmerge_trainer.progress import ProgressReporter, sinks_from_env
from branchmerge_trainer.runtime import StageContext, run_stage
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace


def main() -> int:
    """Carry out the stage that the environment orders. Writes the termination message; returns the exit code."""
    return concluded(_carry_out)


def concluded(work: Callable[[], StageResult | None]) -> int:
    """Do the work of this process, and say how it ended: by the termination message and the exit code returned."""
    try:
        result = work()
    except BaseException as error:
        return _failed(error)
    return _ended(Outcome(exit_code=ExitCode.DONE, reason="Completed", result=result))


def _failed(error: BaseException) -> int:
    outcome = outcome_of(error)
    if log_needed(error, outcome):
        traceback.print_exception(error)
    report(outcome)
    return _ended(outcome)


def _ended(outcome: Outcome) -> int:
    with contextlib.suppress(OSError):  # outside Kubernetes there may be no such file; the exit code says enough
        _termination_log().write_bytes(outcome.to_bytes())
    return outcome.exit_code


def context_from_env(stop: StopFlag, *, reports: bool = True) -> StageContext:
    """The context that the environment describes; `reports`: whether this process tells the progress."""
    return StageContext(
        config=config_from_env(),
        workspace=Workspace.from_env(),
        progress=ProgressReporter(sinks_from_env() if reports else []),
        stop=stop,
    )


def config_from_env() -> StageConfig:
    """The orders in `BRANCHMERGE_STAGE`. Raises InputError where they are missing or of another version."""
    text = os.environ.get(STAGE_ENV)
    if not text:
        raise InputError(f"environment variable {STAGE_ENV} is not set: it must hold a stage's configuration as JSON")
    try:
        config = StageConfig.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InputError(
            f"{STAGE_ENV}: {where}: {problem['msg']}: operator and trainer must be of one version"
        ) from None
    if config.schema_version > SCHEMA_VERSION:
        raise InputError(
            f"{STAGE_ENV}: schemaVersion {config.schema_version} is newer than this trainer's {SCHEMA_VERSION}: "
            "use the trainer image of the operator's version"
        )
    return config


def _carry_out() -> StageResult | None:
    stop = StopFlag(at_once=True)
    context = context_from_env(stop)
    config, workspace = context.config, context.workspace
    done = workspace.result(config.output)
    if done is not None:
        return done
    stop.install()
    if isinstance(config.task, TrainTask):
        return _train(config, config.task.training, workspace, stop)
    return run_stage(context)


def _train(config: StageConfig, training: Training, workspace: Workspace, stop: StopFlag) -> StageResult | None:
    """The result that rank 0 published. Other nodes may look before it did, and nobody reads theirs."""
    placement = Placement.from_env(os.environ)
    try:
        launch(placement, training.checkpoint.grace_period_seconds, stop, lambda why: os._exit(_failed(why)))
    except Interrupted:
        if workspace.result(config.output) is None:  # else the signal came too late to stop anything
            raise
    result = workspace.result(config.output)
    if result is None and placement.node_rank == 0:
        raise RuntimeError(f"all ranks ended well, but {config.output} is not there")
    return result


def _termination_log() -> Path:
    return Path(os.environ.get(TERMINATION_LOG_ENV, TERMINATION_LOG_DEFAULT))

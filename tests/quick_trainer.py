"""A trainer that computes nothing: real processes that keep the contract of a stage, in a tenth of a second.

What a stage does is told by the environment variable QUICK, JSON of stage name (or "*") -> settings:
`steps`, `seconds` (a step), `every` (steps between checkpoints), `exit` and `message` (fail so after the last step),
`fail_first` (only the first n attempts fail), `ranks` (children in sessions of their own), `stubborn` (ignores
SIGTERM), `dies` (of this signal after the last step).
Every step that is done is a line in the workspace's `steps.log`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from branchmerge.api.stage import Outcome, Progress, Score, StageConfig, StageResult

stopped = False


def main() -> int:
    config = StageConfig.model_validate_json(os.environ["BRANCHMERGE_STAGE"])
    workspace = Path(os.environ["BRANCHMERGE_WORKSPACE"])
    told = json.loads(os.environ.get("QUICK", "{}"))
    settings = told.get(config.stage) or told.get("*") or {}
    install_signals(settings)
    ranks = [subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) for _ in range(settings.get("ranks", 0))]
    outcome = carry_out(config, workspace, settings)
    for rank in ranks:
        rank.kill()
    Path(os.environ["BRANCHMERGE_TERMINATION_LOG"]).write_bytes(outcome.to_bytes())
    print(f"{outcome.reason}: {outcome.message}", flush=True)
    return outcome.exit_code


def install_signals(settings: dict[str, Any]) -> None:
    def stop(*_: Any) -> None:
        global stopped
        stopped = True

    signal.signal(signal.SIGTERM, signal.SIG_IGN if settings.get("stubborn") else stop)


def carry_out(config: StageConfig, workspace: Path, settings: dict[str, Any]) -> Outcome:
    work = workspace / config.work
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "step"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    steps = settings.get("steps", 2)
    for step in range(done + 1, steps + 1):
        time.sleep(settings.get("seconds", 0.01))
        with (workspace / "steps.log").open("a") as log:
            log.write(f"{config.stage} {step}\n")
        report(Progress(phase="training", step=step, steps=steps, loss=1 / step, updated_at=datetime.now(UTC)))
        if step % settings.get("every", 1) == 0 or stopped:
            save(checkpoint, step)
        if stopped:
            return Outcome(exit_code=143, reason="Interrupted", message=f"saved step {step}")
    if "dies" in settings:
        os.kill(os.getpid(), settings["dies"])
    if "exit" in settings and config.attempt <= settings.get("fail_first", 1000):
        return Outcome(exit_code=settings["exit"], reason="Told", message=settings.get("message", "as it was told"))
    publish(config, workspace)
    return Outcome(exit_code=0, reason="Completed")


def report(progress: Progress) -> None:
    path = Path(os.environ["BRANCHMERGE_PROGRESS_FILE"])
    temporary = path.with_suffix(".tmp")
    temporary.write_text(progress.to_json())
    temporary.replace(path)


def save(checkpoint: Path, step: int) -> None:
    temporary = checkpoint.with_suffix(".tmp")
    temporary.write_text(str(step))
    temporary.replace(checkpoint)


def publish(config: StageConfig, workspace: Path) -> None:
    final = workspace / config.output
    folder = final.with_name(f"{final.name}.new-{config.attempt}")
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    scores = []
    if config.stage.startswith("evaluate/"):
        scores = [Score(suite="house", metric="pass@1", value=0.5, ci95=(0.4, 0.6), n=100)]
    result = StageResult(
        stage=config.stage,
        fingerprint=config.fingerprint,
        digest=config.fingerprint[::-1],
        started_at=now,
        finished_at=now,
        scores=scores,
    )
    (folder / "lineage.json").write_text(
        json.dumps({"stage": config.stage, "fingerprint": config.fingerprint, "ingredients": config.ingredients})
    )
    (folder / "result.json").write_text(result.to_json())
    folder.rename(final)


if __name__ == "__main__":
    sys.exit(main())

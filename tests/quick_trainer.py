"""A trainer that computes nothing: real processes that keep the contract of a stage, in a twentieth of a second.

It speaks the contract's JSON without the project's models, because those take longer to import than all its work.
What a stage does is told by the environment variable QUICK, JSON of stage name (or "*", or for one node
"<stage>@<node>") -> settings: `steps`, `seconds` (a step), `every` (steps between checkpoints), `exit` and `message`
(fail so after the last step), `fail_first` (only the first n attempts fail), `ranks` (children in sessions of their
own), `stubborn` (ignores SIGTERM), `dies` (of this signal after the last step), `hogs` (mebibytes that it takes then).
Every step that is done is a line in the workspace's `steps.log`. Nodes other than the first only keep it company.
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

Json = dict[str, Any]

stopped = False


def main() -> int:
    config = json.loads(os.environ["BRANCHMERGE_STAGE"])
    workspace = Path(os.environ["BRANCHMERGE_WORKSPACE"])
    told = json.loads(os.environ.get("QUICK", "{}"))
    node = int(os.environ.get("PET_NODE_RANK", "0"))
    settings = told.get(f"{config['stage']}@{node}") or told.get(config["stage"]) or told.get("*") or {}
    install_signals(settings)
    ranks = [subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) for _ in range(settings.get("ranks", 0))]
    outcome = carry_out(config, workspace, settings, company=node > 0)
    for rank in ranks:
        rank.kill()
    Path(os.environ.get("BRANCHMERGE_TERMINATION_LOG", "/dev/termination-log")).write_text(json.dumps(outcome))
    print(f"{outcome['reason']}: {outcome['message']}", flush=True)
    return int(outcome["exitCode"])


def install_signals(settings: Json) -> None:
    def stop(*_: Any) -> None:
        global stopped
        stopped = True

    signal.signal(signal.SIGTERM, signal.SIG_IGN if settings.get("stubborn") else stop)


def carry_out(config: Json, workspace: Path, settings: Json, *, company: bool) -> Json:
    final = workspace / config["output"]
    if (final / "result.json").exists():
        return outcome(0, "Completed", "", json.loads((final / "result.json").read_text()))
    work = workspace / f"{config['output']}.work"
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "step"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    steps = settings.get("steps", 2)
    for step in range(done + 1, steps + 1):
        time.sleep(settings.get("seconds", 0.01))
        if not company:
            advance(config, workspace, step, steps)
        if not company and (step % settings.get("every", 1) == 0 or stopped):
            replace(checkpoint, str(step))
        if stopped:
            return outcome(143, "Interrupted", f"saved step {step}")
    if "hogs" in settings:
        bytearray(os.urandom(1 << 20) * settings["hogs"])
    if "dies" in settings:
        os.kill(os.getpid(), settings["dies"])
    if "exit" in settings and config["attempt"] <= settings.get("fail_first", 1000):
        return outcome(settings["exit"], "Told", settings.get("message", "as it was told"))
    return outcome(0, "Completed", "", None if company else publish(config, workspace))


def advance(config: Json, workspace: Path, step: int, steps: int) -> None:
    """Tell that a step is done."""
    with (workspace / "steps.log").open("a") as log:
        log.write(f"{config['stage']} {step}\n")
    print(f"step {step}/{steps}", flush=True)
    if path := os.environ.get("BRANCHMERGE_PROGRESS_FILE"):
        progress = {"phase": "training", "step": step, "steps": steps, "loss": 1 / step, "updatedAt": now()}
        replace(Path(path), json.dumps(progress))


def outcome(exit_code: int, reason: str, message: str, result: Json | None = None) -> Json:
    return {"exitCode": exit_code, "reason": reason, "message": message, "result": result}


def publish(config: Json, workspace: Path) -> Json:
    final = workspace / config["output"]
    folder = final.with_name(f"{final.name}.new-{config['attempt']}")
    folder.mkdir(parents=True)
    score = {"suite": "house", "metric": "pass@1", "value": 0.5, "ci95": [0.4, 0.6], "n": 100}
    result = {
        "stage": config["stage"],
        "fingerprint": config["fingerprint"],
        "digest": config["fingerprint"][::-1],
        "startedAt": now(),
        "finishedAt": now(),
        "scores": [score] if config["stage"].startswith("evaluate/") else [],
    }
    if config["stage"] == "inputs":
        result["pins"] = [None] * len(config["task"]["inputs"])
    if config["stage"] == "report":
        for name in ("README.md", "report.html", "report.json"):
            (folder / name).write_text(f'{{"is": "{name}"}}')
    lineage = {key: config[key] for key in ("stage", "fingerprint", "ingredients")}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    (folder / "result.json").write_text(json.dumps(result))
    folder.rename(final)
    return result


def replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def now() -> str:
    return datetime.now(UTC).isoformat()


if __name__ == "__main__":
    sys.exit(main())

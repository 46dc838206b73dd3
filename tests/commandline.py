"""The command line as a person starts it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from branchmerge.local import processes

COMMAND = (sys.executable, "-c", "from branchmerge.cli.main import main; main()")
QUICK_TRAINER = f"{sys.executable} {Path(__file__).with_name('quick_trainer.py')}"


@dataclass
class CommandLine:
    """Commands that are typed in one folder, whose stages are carried out by the quick trainer or the real one."""

    folder: Path
    quick: Mapping[str, Any] | None = None
    """What the quick trainer is told (see quick_trainer.py); None: the real one works."""
    run_folder: Path | None = None
    """Where the job runs, if not where that of jobfolder.py does by default."""

    @property
    def workspace(self) -> Path:
        """The folder of the run."""
        return self.run_folder or self.folder / "runs" / "tiny"

    def type(self, *arguments: str, timeout: float = 120.0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self._environ() | environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self._environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def steps(self) -> Counter[str]:
        """How often each step of each stage was done, by the quick trainer."""
        log = self.workspace / "steps.log"
        return Counter(log.read_text().splitlines()) if log.exists() else Counter()

    def wait_for_step(self, stage: str, step: int, seconds: float = 90.0) -> None:
        """Wait until the quick trainer has done a step."""
        until = time.monotonic() + seconds
        while self.steps()[f"{stage} {step}"] == 0:
            assert time.monotonic() < until, f"{stage} has not come to step {step} in {seconds} s"
            time.sleep(0.02)

    def attempts(self) -> list[dict[str, Any]]:
        """The records of all attempts."""
        return [json.loads(file.read_text()) for file in self.workspace.glob("attempts/*/attempt.json")]

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for an attempt of the run."""
        folders = [folder for folder in self.workspace.glob("attempts/*") if folder.is_dir()]
        return [process for folder in folders for process in processes.marked(folder)]

    def end(self) -> None:
        """Kill what is left."""
        for folder in self.workspace.glob("attempts/*"):
            processes.sweep(folder)

    def _environ(self) -> dict[str, str]:
        environ = dict(os.environ) | {"COLUMNS": "120"}
        if self.quick is None:
            return environ
        return environ | {"BRANCHMERGE_TRAINER": QUICK_TRAINER, "QUICK": json.dumps(self.quick)}

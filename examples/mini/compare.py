#!/usr/bin/env python3
"""What verification is worth: runs `selective.yaml` and `unverified.yaml`, and writes the comparison into README.md.

    python examples/mini/compare.py

Both jobs ask the same teacher the same questions and train for as many steps; one of them verifies the answers. That
takes ten minutes on two cores, and what is done already is not done again. Run `make.py` before.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teacher import serving

from branchmerge_trainer.evaluate.answers import read_answers
from branchmerge_trainer.evaluate.statistics import paired_difference

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
PORT = 8765
"""Where the jobs ask the teacher."""
DOMAINS = ("math", "coding", "science")
BEGIN, END = "<!-- compare.py begin -->", "<!-- compare.py end -->"


class Run:
    """A job that has run, in its workspace."""

    def __init__(self, name: str) -> None:
        """`name`: of the job's file."""
        file, self._workspace = FOLDER / f"{name}.yaml", Path("runs") / f"mini-{name}"
        program = Path(sys.executable).with_name("branchmerge")
        subprocess.run([program, "run", file, "--workspace", self._workspace], check=True)

    def funnel(self, domain: str) -> dict[str, Any]:
        """What became of the domain's answers."""
        found: dict[str, Any] = json.loads((self._output(f"curate/{domain}") / "funnel.json").read_text())
        return found

    def rows(self, domain: str) -> int:
        """That its specialist has learned from."""
        rows: int = self.funnel(domain)["steps"][-1]["out"]
        return rows

    def scores(self, domain: str) -> dict[str, float]:
        """Question -> whether the specialist of the domain answers it right."""
        return read_answers(self._output(f"evaluate/specialist/{domain}"), domain)

    def _output(self, stage: str) -> Path:
        """Of the stage as the job has it now; an earlier version of the job may have left another one."""
        results = (self._workspace / "stages" / stage).glob("*/result.json")
        return max(results, key=lambda result: result.stat().st_mtime).parent


def table(verified: Run, unverified: Run) -> Iterator[str]:
    """The comparison, as lines of Markdown."""
    yield "| domain | right answers of the teacher | rows verified | rows unverified | verified | unverified | gain |"
    yield "|---|---|---|---|---|---|---|"
    for domain in DOMAINS:
        share = verified.funnel(domain)["passRates"]["mean"]
        learned, believed = verified.scores(domain), unverified.scores(domain)
        gain = paired_difference(learned, believed)
        scores = (f"{_decimal(sum(each.values()) / len(each))}" for each in (learned, believed))
        interval = f"{gain.value:+.3f} [{gain.low:.3f}, {gain.high:.3f}]".replace("0.", ".")
        cells = [
            domain,
            f"{share:.0%}",
            f"{verified.rows(domain):,}",
            f"{unverified.rows(domain):,}",
            *scores,
            interval,
        ]
        yield f"| {' | '.join(cells)} |"


def _decimal(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def main() -> int:
    """The exit code."""
    try:
        with serving(port=PORT):
            runs = [Run("selective"), Run("unverified")]
    except subprocess.CalledProcessError as error:
        print(f"compare.py: {' '.join(map(str, error.cmd))}: exit code {error.returncode}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"compare.py: port {PORT} of this machine: {error}", file=sys.stderr)
        return 64
    lines = "\n".join([BEGIN, *table(*runs), END])
    print(lines)
    README.write_text(re.sub(f"{BEGIN}.*{END}", lines, README.read_text(), flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())

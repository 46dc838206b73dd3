"""How fast a curation is, what it needs in memory, and how much of what is wrong it finds.

    python benchmarks/curate/run.py [--rows N] [--folder F] [--datatrove 'uv run … python']

Makes the rows, runs each part in a process of its own, and prints its figures as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import planted

HERE = Path(__file__).parent


class Run(NamedTuple):
    """A process that ended well."""

    printed: Any
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where rows are made; default: a temporary one")
    parser.add_argument("--datatrove", help="command of a Python that has datatrove and spaCy; default: left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        if not (folder / "suite.jsonl").exists():
            planted.write(folder, options.rows)
        print_steps(run([sys.executable, str(HERE / "steps.py"), str(folder)]).printed)
        print_near(folder, shlex.split(options.datatrove or ""))


def run(command: list[str]) -> Run:
    """Run a command that prints JSON."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: ended with {process.returncode}")
    return Run(json.loads(printed), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def print_steps(report: dict[str, Any]) -> None:
    print("| step | rows in | CPU seconds | rows/s | planted | found | dropped in all |")
    print("|---|---|---|---|---|---|---|")
    for name, step in report["steps"].items():
        found = report["found"].get(name)
        figures = [f"{found[key]:,}" for key in ("planted", "found", "dropped")] if found else ["", "", ""]
        rate = step["rows"] / step["seconds"]
        print(f"| {name} | {step['rows']:,} | {step['seconds']:.1f} | {rate:,.0f} | {' | '.join(figures)} |")
    print(
        f"\n{report['kept']:,} rows kept; {report['cpu']:.0f} s of CPU, {report['wall']:.0f} s of wall time; ", end=""
    )
    print(f"peak {report['peak MiB']:,.0f} MiB\n")


def print_near(folder: Path, datatrove: list[str]) -> None:
    texts = [json.loads(line) for line in (folder / "texts.jsonl").open()]
    wanted = {text["id"] for text in texts if text["kind"] in (planted.Kind.EXACT, planted.Kind.NEAR)}
    commands = {"Branchmerge": [sys.executable, str(HERE / "near.py"), str(folder)]}
    if datatrove:
        command = [*datatrove, str(HERE / "near_datatrove.py"), str(folder)]
        commands |= {"datatrove, words by spaces": [*command, "--words", "spaces"], "datatrove": command}
    print("| near de-duplication of the same texts | CPU seconds | ratio | peak MiB | recall | precision |")
    print("|---|---|---|---|---|---|")
    own = None
    for name, command in commands.items():
        result = run(command)
        own = own or result.cpu_seconds
        repeats = set(result.printed)
        recall, precision = len(repeats & wanted) / len(wanted), len(repeats & wanted) / len(repeats)
        figures = f"{result.cpu_seconds:.0f} | {result.cpu_seconds / own:.1f} | {result.peak_mib:,.0f}"
        print(f"| {name} | {figures} | {recall:.4f} | {precision:.4f} |", flush=True)


if __name__ == "__main__":
    main()

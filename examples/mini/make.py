#!/usr/bin/env python3
"""Makes what the jobs of this folder need: the student, and the data and suites of its three domains.

    python examples/mini/make.py [FOLDER] [--seed N]

FOLDER (default: `build` beside this script) holds afterwards `student/`, `data/<domain>.jsonl`,
`prompts/<domain>.jsonl`, `eval/<domain>.jsonl` and `build.json`, which says what they were made from. That takes one or
two minutes on two cores, and no time when it is repeated. Exit code 64 says that FOLDER cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from miniature.domains import make_domains
from miniature.files import write_domains
from miniature.folder import TargetError, atomic_folder, fingerprint, is_finished, only_run
from miniature.narrator import Narrator

SEED = 6
BAND = (0.3, 0.6)
"""Scores of a student that leave room for specialists, and of which a merge has something to keep."""

_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits leaves its core to others: three times faster on a busy machine
    "DS_ACCELERATOR": "cpu",  # else DeepSpeed, which transformers loads, warns that it had to find out
}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path(__file__).parent / "build")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of facts, questions and weights; default {SEED}")
    arguments = parser.parse_args()
    try:
        with only_run(arguments.folder):
            if is_finished(arguments.folder, fingerprint(arguments.seed)):
                print(f"{arguments.folder} is made already")
            else:
                make(arguments.folder, arguments.seed)
    except (TargetError, OSError) as error:
        print(f"make.py: {error}", file=sys.stderr)
        return 64
    except KeyboardInterrupt:
        return 130
    return 0


def make(target: Path, seed: int) -> None:
    """Make everything in `target`."""
    narrator = Narrator()
    with atomic_folder(target, fingerprint(seed)) as (folder, record):
        domains = make_domains(seed)
        write_domains(folder, domains)
        os.environ |= _ENVIRONMENT
        with narrator.during("loading torch and transformers"):
            from miniature.student import make_student

        def report(step: int, loss: float, scores: Mapping[str, float]) -> None:
            if narrator.is_due:
                narrator.say(f"step {step:4}  loss {loss:.2f}  {_listed(scores)}")

        student = make_student(domains, seed, report)
        with narrator.during("saving the student"):
            student.save(folder / "student")
        record |= {"seed": seed, "steps": student.steps, "seconds": round(narrator.seconds), "scores": student.scores}
    narrator.say(f"{target} is made: {student.steps} steps, {_listed(student.scores)}")
    for name, score in student.scores.items():
        if not BAND[0] <= score <= BAND[1]:
            print(
                f"make.py: the student scores {score:.2f} in {name}, outside {BAND[0]}-{BAND[1]}: "
                "the jobs run, but their gains may be small; another --seed may do better",
                file=sys.stderr,
            )


def _listed(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {score:.2f}" for name, score in scores.items())


if __name__ == "__main__":
    sys.exit(main())

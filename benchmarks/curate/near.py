"""Near de-duplication alone, as Branchmerge does it; prints the ids of the texts that repeat, as JSON.

    python benchmarks/curate/near.py FOLDER

It reads what `near_datatrove.py` reads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from planted import THRESHOLD

from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.dedup import without_near_repeats


def main() -> None:
    repeats: list[str] = []

    def drop(_reason: str, candidate: Candidate, _detail: str = "") -> None:
        repeats.append(candidate.fields["id"])

    for _ in without_near_repeats(_texts(Path(sys.argv[1])), THRESHOLD, drop):
        pass
    print(json.dumps(repeats))


def _texts(folder: Path) -> Iterator[Candidate]:
    with (folder / "texts.jsonl").open() as file:
        for number, line in enumerate(file, start=1):
            row = json.loads(line)
            yield Candidate(0, number, [{"role": "assistant", "content": row["text"]}], fields={"id": row["id"]})


if __name__ == "__main__":
    main()

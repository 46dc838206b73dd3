"""Curates planted rows step by step; prints seconds and rows of each step, and what was found, as JSON.

    python benchmarks/curate/steps.py FOLDER

The steps stream, as in the stage: what is timed of a step is the time in it alone, without that of the steps before.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from planted import THRESHOLD, Kind

from branchmerge.api.data import DataSpec
from branchmerge.api.evaluation import Suite
from branchmerge.api.verification import Verify
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.dataset import RowsWriter
from branchmerge_trainer.curate.decontaminate import QuestionIndex, without_contamination
from branchmerge_trainer.curate.dedup import without_near_repeats, without_repeats
from branchmerge_trainer.curate.funnel import Filter, Funnel
from branchmerge_trainer.curate.reading import Reader
from branchmerge_trainer.evaluate.suites import read_questions
from branchmerge_trainer.verify.filters import verified
from branchmerge_trainer.verify.verifier import open_verifier
from branchmerge_trainer.workspace import Workspace

NGRAM = 13
WANTED = {
    "verify exact": Kind.WRONG,
    "verify choice": Kind.WRONG,
    "deduplicate": Kind.EXACT,
    "deduplicate near": Kind.NEAR,
    "decontaminate": Kind.CONTAMINATED,
}
"""What each step is to find."""


class Clock:
    """CPU seconds of each of several iterators that take from one another."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running = ["rest"]
        self._since = time.process_time()

    def timed(self, name: str, items: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(items)
        while True:
            self._switch(name)
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._switch(None)
            yield item

    def _switch(self, name: str | None) -> None:
        now = time.process_time()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now
        if name is None:
            self._running.pop()
        else:
            self._running.append(name)


class Found:
    """Rows by step and kind."""

    def __init__(self) -> None:
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.rows: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {}

    def watched(self, name: str, filter_: Filter[Candidate]) -> Filter[Candidate]:
        kinds = self.kinds[name] = Counter()

        def watch(items: Iterable[Candidate], /, *, drop: Drop) -> Iterator[Candidate]:
            def note(reason: str, candidate: Candidate, detail: str = "") -> None:
                self.dropped[name, candidate.fields["kind"]] += 1
                drop(reason, candidate, detail)

            return filter_(_counted(items, kinds), drop=note)

        return watch


def _counted(items: Iterable[Candidate], kinds: Counter[str]) -> Iterator[Candidate]:
    for item in items:
        kinds[item.fields["kind"]] += 1
        yield item


def main() -> None:
    folder = Path(sys.argv[1])
    workspace, clock, funnel, found = Workspace(folder, folder), Clock(), Funnel(), Found()
    start = time.monotonic()
    with open_verifier(Verify(method="exact")) as exact, open_verifier(Verify(method="choice")) as choice:
        streams = [
            _stream(name, verifier, workspace, clock, funnel, found)
            for name, verifier in (("exact", exact), ("choice", choice))
        ]
        rows: Iterator[Candidate] = chain.from_iterable(streams)
        for name, filter_ in _filters(workspace):
            rows = clock.timed(name, funnel.through(name, rows, found.watched(name, filter_)))
        with tempfile.TemporaryDirectory(dir=folder) as out, RowsWriter(Path(out)) as writer:
            for _ in clock.timed("write", _written(rows, writer)):
                pass
        funnel.write(folder)
    print(json.dumps(_report(clock, found, writer, time.monotonic() - start)))


def _stream(
    name: str, verifier: Any, workspace: Workspace, clock: Clock, funnel: Funnel, found: Found
) -> Iterator[Any]:
    columns = {"prompt": "prompt", "completion": "completion"}
    data = DataSpec.model_validate({"sources": [{"path": f"{name}.jsonl", "columns": columns}]})
    reader = Reader("bench", data, workspace)
    rows = clock.timed("read", funnel.through("read", reader.rows(), reader.shaped))
    filter_ = partial(verified, verifier=verifier, verify=Verify.model_validate({"method": name}))
    step = f"verify {name}"
    return clock.timed(step, funnel.through(step, rows, found.watched(step, filter_)))


def _filters(workspace: Workspace) -> Iterator[tuple[str, Filter[Candidate]]]:
    suite = Suite(name="suite", path="suite.jsonl", method="exact")
    asked = {question.id: question.messages for question in read_questions(suite, workspace)}
    yield "deduplicate", without_repeats
    yield "deduplicate near", partial(without_near_repeats, threshold=THRESHOLD)
    yield "decontaminate", partial(without_contamination, questions=QuestionIndex({"suite": asked}, NGRAM))


def _written(rows: Iterable[Candidate], writer: RowsWriter) -> Iterator[None]:
    for row in rows:
        writer.add(row)
        yield


def _report(clock: Clock, found: Found, writer: RowsWriter, wall: float) -> dict[str, Any]:
    steps = {"read": sum(sum(kinds.values()) for name, kinds in found.kinds.items() if name.startswith("verify"))}
    steps |= {name: sum(kinds.values()) for name, kinds in found.kinds.items()} | {"write": writer.figures["rows"]}
    return {
        "wall": wall,
        "cpu": sum(clock.seconds.values()),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "kept": writer.figures["rows"],
        "steps": {name: {"rows": rows, "seconds": clock.seconds[name]} for name, rows in steps.items()},
        "found": {name: _accuracy(name, kind, found) for name, kind in WANTED.items()},
    }


def _accuracy(name: str, kind: Kind, found: Found) -> dict[str, int]:
    dropped = sum(count for (step, _), count in found.dropped.items() if step == name)
    return {"planted": found.kinds[name][kind], "found": found.dropped[name, kind], "dropped": dropped}


if __name__ == "__main__":
    main()

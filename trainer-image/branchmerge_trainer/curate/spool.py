"""Candidates in a file, read back in any order."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from types import TracebackType
from typing import Self

from branchmerge_trainer.curate.candidates import Candidate


class Spool:
    """A file of candidates, without their `fields`. Use it as a context manager, which removes the file at its end.

    In memory: 8 bytes a candidate.
    """

    def __init__(self, file: Path) -> None:
        """`file`: what another attempt left there is overwritten."""
        self._path = file
        self._starts = array("Q")
        self._end = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("w+b")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()

    def add(self, candidate: Candidate) -> None:
        """Append a candidate. All are appended before the first is read."""
        facts = [candidate.source, candidate.row, candidate.messages, candidate.sample, candidate.tokens]
        line = json.dumps(facts, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._starts.append(self._end)
        self._end += len(line)

    def __getitem__(self, number: int) -> Candidate:
        """The candidate that was appended after `number` others."""
        self._file.seek(self._starts[number])
        return Candidate(*json.loads(self._file.readline()))

"""The token sequences of one source on disk, mapped into memory by every rank."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from branchmerge_trainer.train.encoding import Encoded

_TOKENS, _TRAINED, _STARTS, _FACTS = "tokens.i32", "trained.bool", "starts.i64", "facts.json"


@dataclass(frozen=True)
class Corpus:
    """Sequences, each of at least one token that is learned."""

    folder: Path
    facts: Mapping[str, Any]
    """What was said of the sequences when they were written."""

    @classmethod
    def write(cls, folder: Path, sequences: Iterable[Encoded], facts: Mapping[str, Any]) -> Corpus:
        """Write a corpus; `folder` exists once it is complete. `facts` is read after the last sequence."""
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        starts = [0]
        with (partial / _TOKENS).open("wb") as tokens, (partial / _TRAINED).open("wb") as trained:
            for sequence in sequences:
                tokens.write(np.asarray(sequence.tokens, np.int32).tobytes())
                trained.write(sequence.mask().tobytes())
                starts.append(starts[-1] + len(sequence.tokens))
        (partial / _STARTS).write_bytes(np.asarray(starts, np.int64).tobytes())
        (partial / _FACTS).write_text(json.dumps(facts))
        partial.rename(folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Open a corpus that was written."""
        return cls(folder, json.loads((folder / _FACTS).read_bytes()))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence."""
        return np.diff(self._starts)

    @cached_property
    def trained_counts(self) -> npt.NDArray[np.int64]:
        """Learned tokens of each sequence."""
        return np.add.reduceat(self._trained, self._starts[:-1], dtype=np.int64)

    def tokens(self, index: int) -> npt.NDArray[np.int32]:
        """The tokens of a sequence."""
        return self._tokens[self._starts[index] : self._starts[index + 1]]

    def trained(self, index: int) -> npt.NDArray[np.bool_]:
        """For each token of a sequence whether it is learned. The first never is: nothing predicts it."""
        return self._trained[self._starts[index] : self._starts[index + 1]]

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.fromfile(self.folder / _STARTS, np.int64)

    @cached_property
    def _tokens(self) -> npt.NDArray[np.int32]:
        return np.memmap(self.folder / _TOKENS, np.int32, mode="r")

    @cached_property
    def _trained(self) -> npt.NDArray[np.bool_]:
        return np.memmap(self.folder / _TRAINED, np.bool_, mode="r")

"""The curated rows on disk: Parquet that any data set's reader takes, and a digest of what can be learned from it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.rows import Message

ROWS_FILE = "rows.parquet"
"""Of a curation's output: `messages`, and where each row comes from: `source`, `row`, `sample`."""
DIGEST_FILE = "rows.sha256"
"""Of a curation's output: sha256 (hex) over the messages of all rows, in order. It is the content of the output: equal
messages are equal data, whatever version of Parquet they are written in and whatever place they came from."""

_SCHEMA = pa.schema(
    [
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.int32()),
        ("row", pa.int64()),
        ("sample", pa.int32()),
    ]
)
_REPEATED = ["messages.list.element.role", "source", "sample"]
"""Columns with few values; texts hardly ever repeat, and a dictionary of them would be read as a whole."""
_GROUP_ROWS = 8192
_GROUP_CHARACTERS = 16 << 20
"""A row group ends at whichever comes first; it is what a writer holds in memory."""
_READ_ROWS = 64
_READ_BYTES = 1 << 20


class RowsWriter:
    """Writes rows one by one. Use it as a context manager: the files are complete after it. Equal rows, equal bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._group: list[dict[str, Any]] = []
        self._group_characters = 0
        self.figures: Counter[str] = Counter()
        """Of the rows that were written: `rows`, `characters` over all messages, `tokens` where they were counted."""
        self.by_source: Counter[int] = Counter()
        """Index in `data.sources` -> rows."""

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(
            self._folder / ROWS_FILE, _SCHEMA, compression="zstd", version="2.6", use_dictionary=_REPEATED
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._end_group()
            (self._folder / DIGEST_FILE).write_text(f"{self._digest.hexdigest()}\n")
        self._writer.close()

    def add(self, candidate: Candidate) -> None:
        """Write one row."""
        line = json.dumps(candidate.messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self._digest.update(line.encode() + b"\n")
        self._group.append(
            {
                "messages": candidate.messages,
                "source": candidate.source,
                "row": candidate.row,
                "sample": candidate.sample,
            }
        )
        self.by_source[candidate.source] += 1
        self.figures.update(rows=1, characters=candidate.characters)
        if candidate.tokens is not None:
            self.figures.update(tokens=candidate.tokens)
        self._group_characters += candidate.characters
        if len(self._group) == _GROUP_ROWS or self._group_characters >= _GROUP_CHARACTERS:
            self._end_group()

    def _end_group(self) -> None:
        if self._group:
            table = pa.Table.from_pylist(self._group, schema=_SCHEMA)
            self._writer.write_table(table, row_group_size=len(self._group))
        self._group, self._group_characters = [], 0


def read_messages(file: Path) -> Iterator[list[Message]]:
    """The messages of each row, in order; memory is bounded whatever the size of the file or of its row groups."""
    with pq.ParquetFile(file, buffer_size=_READ_BYTES) as rows:
        for batch in rows.iter_batches(_READ_ROWS, columns=["messages"]):
            yield from batch.column("messages").to_pylist()

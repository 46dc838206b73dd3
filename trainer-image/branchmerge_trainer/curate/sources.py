"""Reads the rows of a source: a data set of the Hub, or JSONL or Parquet at a path or fsspec URI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlparse

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from branchmerge.api.data import HubDataset, Source
from branchmerge.api.errors import InputError
from branchmerge_trainer.workspace import Workspace

_LINES = frozenset({".jsonl", ".ndjson"})
_PARQUET = frozenset({".parquet"})


def read_rows(source: Source, workspace: Workspace, where: str) -> Iterator[tuple[int, Any]]:
    """Yield (row number from 1, row) of the source. `where` names the field in messages.

    Raises InputError where the source is not there or cannot be read.
    """
    if source.dataset is not None:
        yield from enumerate(_load_hub(source.dataset), start=1)
        return
    assert source.path is not None, "validated: a source is a data set, a path or prompts"
    location = workspace.locate(source.path)
    read = _reader(location, where)
    try:
        with fsspec.open(location, "rb", compression="infer") as file:
            yield from read(file, f"{where}: {source.path}")
    except FileNotFoundError:
        raise InputError(f"{where}: {source.path}: not found: relative paths start from {workspace.inputs}") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: {source.path}: cannot be read as Parquet: {error}") from None


def name_of(source: Source) -> str:
    """How messages call the source."""
    if source.dataset is not None:
        return f"{source.dataset.repo} ({source.dataset.split})"
    return str(source.path)


def _reader(location: str, where: str) -> Any:
    suffixes = PurePosixPath(urlparse(location).path).suffixes[-2:]  # the last may be a compression: `.jsonl.gz`
    if _LINES.intersection(suffixes):
        return _read_lines
    if _PARQUET.intersection(suffixes):
        return _read_parquet
    raise InputError(f"{where}: {location}: unknown file format: use {', '.join(sorted(_LINES | _PARQUET))}")


def _read_lines(file: IO[bytes], where: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}, line {number}: cannot be read as JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}, line {number}: is no JSON object: write one row a line")
        yield number, row


def _read_parquet(file: IO[bytes], _where: str) -> Iterator[tuple[int, Any]]:
    batches: Iterable[pa.RecordBatch] = pq.ParquetFile(file).iter_batches()
    rows = (row for batch in batches for row in batch.to_pylist())
    yield from enumerate(rows, start=1)


def _load_hub(dataset: HubDataset) -> Any:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    return load_dataset(dataset.repo, dataset.config, split=dataset.split, revision=dataset.revision, streaming=True)

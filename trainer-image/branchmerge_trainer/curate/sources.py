"""Reads the rows of a source: a data set of the Hub, or JSONL or Parquet at a path or fsspec URI.

Rows are streamed: what is in memory at a time is a few hundred of them, or of a Parquet file one page a column.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlparse

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from branchmerge.api.data import HubDataset, Source
from branchmerge.api.errors import InputError
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.workspace import Workspace

_LINES = frozenset({".jsonl", ".ndjson"})
_PARQUET = frozenset({".parquet"})
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"})
"""Exceptions of the stores' libraries, by name so that they need not be imported."""
_PARQUET_ROWS = 256
_PARQUET_BUFFER_BYTES = 1 << 20

Rows = Iterator[tuple[int, Any]]
"""(row number from 1, row)."""


def read_rows(source: Source, workspace: Workspace, where: str) -> Rows:
    """Yield (row number from 1, row) of the source. `where` names the field in messages.

    Raises InputError where the source is not there or cannot be read, TransientError where a store or the Hub fails.
    """
    if source.hub_dataset is not None:
        yield from enumerate(_read_hub(source.hub_dataset, where), start=1)
    else:
        assert source.file is not None, "validated: a source is a data set or a path"
        yield from _read_file(source.file, workspace, where)


def count_rows(source: Source, workspace: Workspace) -> int | None:
    """Rows that are read of a source, `maxRows` included; None where only reading it all would tell."""
    if source.file is None:
        return source.max_rows
    location = workspace.locate(source.file)
    if "://" in location:
        return source.max_rows
    try:
        rows = _count(Path(location))
    except (OSError, pa.ArrowInvalid):
        return None  # reading it says what is wrong
    return rows if source.max_rows is None or rows is None else min(rows, source.max_rows)


def _count(path: Path) -> int | None:
    match path.suffix:
        case suffix if suffix in _LINES:
            with path.open("rb") as file:
                return sum(1 for line in file if line.strip())
        case suffix if suffix in _PARQUET:
            rows: int = pq.read_metadata(path).num_rows
            return rows
    return None


def field_of(branch: str, index: int) -> str:
    """How messages call the field of a branch's source."""
    return f"branch {branch}: data.sources[{index}]"


def place_of(branch: str, sources: Sequence[Source], index: int, row: int) -> str:
    """How messages call a row of a branch's source; `row` counts from 1."""
    return f"{field_of(branch, index)}: {name_of(sources[index])}, row {row}"


def name_of(source: Source) -> str:
    """How messages call the source."""
    dataset = source.hub_dataset
    if dataset is None:
        return str(source.file)
    config = f"{dataset.config}, " if dataset.config else ""
    return f"{dataset.repo} ({config}{dataset.split})"


def _read_file(path: str, workspace: Workspace, where: str) -> Rows:
    location = workspace.locate(path)
    read = _reader(location, where)
    place = f"{where}: {path}"
    try:
        with fsspec.open(location, "rb", compression="infer") as file:
            yield from read(file, place)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # every store has errors of its own
        raise _explained(error, place, workspace) from error


def _explained(error: Exception, place: str, workspace: Workspace) -> Exception:
    match error:
        case FileNotFoundError():
            return InputError(f"{place}: not found: relative paths start from {workspace.inputs}")
        case IsADirectoryError():
            return InputError(f"{place}: is a folder: name a file in it")
        case _ if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
            return InputError(f"{place}: no permission ({error}): give the pods the store's credentials")
        case EOFError() | gzip.BadGzipFile() | zlib.error():
            return InputError(f"{place}: cannot be unpacked ({error}): copy it again")
        case pa.ArrowInvalid():
            return InputError(f"{place}: cannot be read as Parquet: {error}")
        case ImportError() | ValueError():  # no package speaks the protocol
            return InputError(f"{place}: {error}: choose another store, or add the package to the image")
        case _:
            return TransientError(f"{place}: {type(error).__name__}: {error}")


def _reader(location: str, where: str) -> Callable[[IO[bytes], str], Rows]:
    suffixes = PurePosixPath(urlparse(location).path).suffixes[-2:]  # the last may be a compression: `.jsonl.gz`
    if _LINES.intersection(suffixes):
        return _read_lines
    if _PARQUET.intersection(suffixes):
        return _read_parquet
    raise InputError(f"{where}: {location}: unknown file format: use {', '.join(sorted(_LINES | _PARQUET))}")


def _read_lines(file: IO[bytes], where: str) -> Rows:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}, line {number}: cannot be read as JSON: {error}") from None
        except RecursionError:
            raise InputError(f"{where}, line {number}: is nested too deeply: remove the row") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}, line {number}: is no JSON object: write one row a line")
        yield number, row


def _read_parquet(file: IO[bytes], _where: str) -> Rows:
    batches = pq.ParquetFile(file, buffer_size=_PARQUET_BUFFER_BYTES).iter_batches(_PARQUET_ROWS)
    yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)


def _read_hub(dataset: HubDataset, where: str) -> Iterator[Any]:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    place = f"{where}: {dataset.repo}"
    disable_progress_bars()
    try:
        yield from load_dataset(
            dataset.repo, dataset.config, split=dataset.split, revision=dataset.revision, streaming=True
        )
    except DatasetNotFoundError:
        raise InputError(
            f"{place}: no data set of the Hub at revision {dataset.revision}: correct the name, or log in if it is "
            "private"
        ) from None
    except (ConnectionError, OSError) as error:
        raise TransientError(f"{place}: the Hub cannot be reached: {_first_line(error)}") from None
    except ValueError as error:  # such as a split or configuration that is not there
        raise InputError(f"{place}: {_first_line(error)}: correct config and split") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

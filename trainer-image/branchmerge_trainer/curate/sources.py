"""Reads the rows of a source: a data set of the Hub, or JSONL, JSON or Parquet at a path or fsspec URI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

from branchmerge.api.data import HubDataset, Source
from branchmerge.api.errors import InputError
from branchmerge_trainer.workspace import Workspace

_FORMATS = {".jsonl": "json", ".json": "json", ".ndjson": "json", ".parquet": "parquet"}


def read_rows(
    source: Source, workspace: Workspace, revisions: Mapping[str, str], where: str
) -> Iterator[tuple[int, Any]]:
    """Yield (row number from 1, row) of the source. `where` names the field in messages.

    Raises InputError where the source cannot be read or has no row.
    """
    dataset = _load(source, workspace, revisions, where)
    yield from enumerate(dataset, start=1)


def name_of(source: Source) -> str:
    """How messages call the source."""
    if source.dataset is not None:
        return f"{source.dataset.repo} ({source.dataset.split})"
    return str(source.path)


def _load(source: Source, workspace: Workspace, revisions: Mapping[str, str], where: str) -> Any:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    try:
        if source.dataset is not None:
            return _load_hub(source.dataset, revisions)
        assert source.path is not None, "validated: a source is a data set, a path or prompts"
        location = workspace.locate(source.path)
        return load_dataset(_format_of(location, where), data_files=location, split="train", streaming=True)
    except FileNotFoundError as error:
        raise InputError(
            f"{where}: {name_of(source)}: not found ({error}): relative paths start from {workspace.inputs}"
        ) from None
    except (DatasetGenerationError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {name_of(source)}: cannot be read: {error}") from None


def _load_hub(dataset: HubDataset, revisions: Mapping[str, str]) -> Any:
    from datasets import load_dataset

    revision = revisions.get(dataset.repo, dataset.revision)
    return load_dataset(dataset.repo, dataset.config, split=dataset.split, revision=revision, streaming=True)


def _format_of(location: str, where: str) -> str:
    suffixes = PurePosixPath(urlparse(location).path).suffixes
    for suffix in suffixes[-2:]:  # the last one may be a compression, as in `.jsonl.gz`
        if suffix in _FORMATS:
            return _FORMATS[suffix]
    raise InputError(f"{where}: {location}: unknown file format: use {', '.join(_FORMATS)}")

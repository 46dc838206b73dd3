"""From the rows of all sources to candidates of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from branchmerge.api.data import DataSpec, Source
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.rows import Message, RowError, UnusableRow, fields_of, messages_of, prompt_of
from branchmerge_trainer.curate.sources import field_of, place_of, read_rows
from branchmerge_trainer.verify.references import check_columns
from branchmerge_trainer.workspace import Workspace


class RawRow(NamedTuple):
    """A row as its source has it."""

    source: int
    """Index in `data.sources`."""
    number: int
    """From 1."""
    row: Any


class Reader:
    """The sources of a branch."""

    def __init__(self, branch: str, data: DataSpec, workspace: Workspace) -> None:
        self._sources = data.sources
        self._verify = data.verify
        self._workspace = workspace
        self._branch = branch

    def rows(self) -> Iterator[RawRow]:
        """The rows of every source, in order.

        Of prompts, `maxRows` are read and no more: nobody is to pay for an answer that a cap drops later. The cap of
        complete rows counts those that are left at the end; see `mixing`.
        """
        for index, source in enumerate(self._sources):
            rows = read_rows(source, self._workspace, field_of(self._branch, index))
            for number, row in islice(rows, source.max_rows if source.prompts is not None else None):
                yield RawRow(index, number, row)

    def shaped(self, rows: Iterable[RawRow], drop: Drop) -> Iterator[Candidate]:
        """A candidate of each row; those with nothing to learn, or to answer, are dropped.

        Raises InputError, naming source and row, where a row has not the columns that it should have; those that its
        answer is compared with are among them, so that nobody pays for an answer that cannot be judged.
        """
        for index, number, row in rows:
            source = self._sources[index]
            try:
                messages, fields = _conversation(row, source), fields_of(row, source)
                if self._verify is not None:
                    check_columns(fields, self._verify)
            except RowError as error:
                raise InputError(f"{place_of(self._branch, self._sources, index, number)}: {error}") from None
            except UnusableRow as unusable:
                drop(unusable.reason, Candidate(index, number, []))
            else:
                yield Candidate(index, number, messages, fields=fields)


def _conversation(row: Any, source: Source) -> list[Message]:
    if source.prompts is not None:
        return prompt_of(row, source.prompts.column)
    return messages_of(row, source.resolved_columns)

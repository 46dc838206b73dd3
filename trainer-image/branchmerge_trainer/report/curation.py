"""What a curation tells of its rows, as its `funnel.json` has it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import Field

from branchmerge.api.base import RecordModel
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.funnel import FUNNEL_FILE


class Example(RecordModel):
    """A row that was dropped. Its texts are whatever a source or a model wrote: never markup."""

    source: int = 0
    """Index in `data.sources`."""
    row: int = 0
    """From 1."""
    sample: int = 0
    """Which of the answers to its prompt."""
    prompt: str = ""
    answer: str = ""
    detail: str = ""


class Dropped(RecordModel):
    """Rows that a step dropped for one reason."""

    rows: int = 0
    examples: list[Example] = Field(default_factory=list)


class CurationStep(RecordModel):
    """One step of a curation."""

    name: str
    came: int = Field(0, alias="in")
    added: int = 0
    """More rows than came in: each further answer to a prompt."""
    left: int = Field(0, alias="out")
    dropped: dict[str, Dropped] = Field(default_factory=dict)


class PassRates(RecordModel):
    """How many of each prompt's answers were right."""

    prompts: int = 0
    mean: float | None = None
    """Share (0-1) of right answers, mean over prompts."""
    histogram: list[tuple[int, int, int]] = Field(default_factory=list)
    """(right answers, answers, prompts of which that is so)."""

    @property
    def samples(self) -> int | None:
        """Answers of each prompt; None where prompts differ."""
        counts = {of for _, of, _ in self.histogram}
        return counts.pop() if len(counts) == 1 else None


class Asked(RecordModel):
    """What was asked of one endpoint."""

    who: str
    """`teacher` or `judge`."""
    model: str
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal | None = None
    """In `currency`; None where the endpoint has no prices."""
    currency: str | None = None


class CurationRecord(RecordModel):
    """All of it; parts that a curation did not write are empty."""

    steps: list[CurationStep] = Field(default_factory=list)
    pass_rates: PassRates | None = None
    asked: list[Asked] = Field(default_factory=list)


def read_curation(folder: Path) -> CurationRecord:
    """The record in a curation's output folder; an empty one where there is none. Raises InputError if damaged."""
    path = folder / FUNNEL_FILE
    if not path.exists():
        return CurationRecord()
    try:
        return CurationRecord.model_validate(json.loads(path.read_bytes(), object_hook=_without_nulls))
    except ValueError as error:
        problem = str(error).replace("\n", " ")
        raise InputError(f"{path}: damaged ({problem}): delete {folder} and run the job again") from error


def _without_nulls(record: dict[str, Any]) -> dict[str, Any]:
    """What is null is not there."""
    return {key: value for key, value in record.items() if value is not None}

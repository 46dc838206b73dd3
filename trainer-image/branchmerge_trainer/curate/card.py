"""The data card: `README.md`, as the Hugging Face Hub shows it beside the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import DatasetCardData

from branchmerge.api.data import Source
from branchmerge.api.stage import CurateTask
from branchmerge_trainer.curate.dataset import ROWS_FILE, RowsWriter
from branchmerge_trainer.curate.funnel import Funnel, Step
from branchmerge_trainer.curate.sources import name_of
from branchmerge_trainer.report.markdown import bullets, code, plain, table

CARD_FILE = "README.md"

_SIZES = ((1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"), (10_000_000, "10M"))
"""Bounds of the Hub's size categories, in rows."""
_LICENCE = (
    "Not stated. Before you publish these rows, add `license:` to the metadata above: the licences of the sources, and "
    "the terms of whoever answered their prompts, apply to what was made from them."
)
_LOADING = f"""\
```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="{ROWS_FILE}", split="train")
```"""


def write_card(folder: Path, job: str, task: CurateTask, funnel: Funnel, rows: RowsWriter) -> None:
    """Write the card. It holds no time: equal rows have an equal card."""
    sections = (
        f"---\n{_metadata(job, task, rows.figures['rows']).to_yaml()}\n---",
        f"# {plain(job)}: {plain(task.branch)}",
        f"Rows that the specialist of the branch {code(task.branch)} learns from, curated by Branchmerge.",
        bullets(f"{name}: {count:,}" for name, count in rows.figures.items()),
        "## Sources",
        table(["", "source", "revision", "kind", "rows here"], _sources(task, rows)),
        "## What became of every row",
        table(["step", "in", "added", "out", "dropped"], map(_step, funnel.steps)),
        "`row` is the number of a row in its source, from 1; `sample` the number of the answer to a prompt.",
        _LOADING,
        "## Licence",
        _LICENCE,
    )
    (folder / CARD_FILE).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _metadata(job: str, task: CurateTask, rows: int) -> DatasetCardData:
    require = task.data.require
    return DatasetCardData(
        language=require.languages if require is not None and require.languages else None,
        pretty_name=f"{job}: {task.branch}",
        size_categories=[_size(rows)],
        source_datasets=sorted(set(_extended(task.data.sources))) or None,
        task_categories=["text-generation"],
        tags=["branch-merge-distillation"],
        configs=[{"config_name": "default", "data_files": ROWS_FILE}],
    )


def _size(rows: int) -> str:
    lower = None
    for bound, name in _SIZES:
        if rows < bound:
            return f"n<{name}" if lower is None else f"{lower}<n<{name}"
        lower = name
    return f"n>{lower}"


def _extended(sources: Sequence[Source]) -> Iterator[str]:
    """Data sets of the Hub, as its metadata names what was built on them."""
    yield from (f"extended|{source.hub_dataset.repo}" for source in sources if source.hub_dataset is not None)


def _sources(task: CurateTask, rows: RowsWriter) -> Iterator[list[str]]:
    for index, source in enumerate(task.data.sources):
        revision = "–" if source.hub_dataset is None else code(source.hub_dataset.revision)
        kind = "prompts" if source.prompts is not None else "complete rows"
        yield [f"{index}", code(name_of(source)), revision, kind, f"{rows.by_source[index]:,}"]


def _step(step: Step) -> list[str]:
    drops = (f"{dropped.rows:,} {plain(reason)}" for reason, dropped in step.dropped.items())
    counts = (f"{count:,}" for count in (step.rows_in, step.rows_added, step.rows_out))
    return [plain(step.name), *counts, ", ".join(drops) or "–"]

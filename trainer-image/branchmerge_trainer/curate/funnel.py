"""What became of every row: step by step, how many came in, how many went on, and why the others did not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from branchmerge_trainer.curate.candidates import Candidate, Drop

FUNNEL_FILE = "funnel.json"
"""Of a curation's output."""

_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 200

Item = TypeVar("Item")
_Taken = TypeVar("_Taken", contravariant=True)


class Filter(Protocol[_Taken]):
    """Lets some of what it takes pass, as candidates, and drops the others."""

    def __call__(self, items: Iterable[_Taken], /, *, drop: Drop) -> Iterator[Candidate]:
        """Streaming: it takes items as candidates are asked of it."""
        ...


@dataclass
class Dropped:
    """Candidates that a step dropped for one reason."""

    rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first few of different prompts, shortened."""
    last: tuple[int, int] | None = None
    """The prompt of the last example."""


@dataclass
class Step:
    """The count of one step."""

    name: str
    rows_in: int = 0
    rows_added: int = 0
    """More candidates than came in: a prompt that is answered several times becomes as many."""
    rows_out: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def drop(self, reason: str, candidate: Candidate, detail: str = "") -> None:
        """Count a candidate that goes no further; see `Drop`."""
        dropped = self.dropped.setdefault(reason, Dropped())
        dropped.rows += 1
        if len(dropped.examples) < _EXAMPLES and dropped.last != candidate.prompt:
            dropped.examples.append(_example(candidate, detail))
            dropped.last = candidate.prompt

    def check(self) -> None:
        """Assert that every candidate is accounted for, once all have passed."""
        came, dropped = self.rows_in + self.rows_added, sum(each.rows for each in self.dropped.values())
        assert came == self.rows_out + dropped, f"{self.name}: {came} came, {self.rows_out} left, {dropped} dropped"

    def to_json(self) -> dict[str, Any]:
        """As it stands in `funnel.json`."""
        return {
            "name": self.name,
            "in": self.rows_in,
            "added": self.rows_added,
            "out": self.rows_out,
            "dropped": {
                reason: {"rows": dropped.rows, "examples": dropped.examples} for reason, dropped in self.dropped.items()
            },
        }


class Funnel:
    """The steps of a curation, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def through(
        self, name: str, items: Iterable[Item], filter_: Filter[Item], becomes: Callable[[Item], int] = lambda _: 1
    ) -> Generator[Candidate, None, None]:
        """What a filter lets pass of `items`, counted as the step `name`.

        `becomes`: how many candidates the filter makes of an item, those included that it drops.
        """
        step = Step(name)
        self.steps.append(step)
        return _counted_out(filter_(_counted_in(items, step, becomes), drop=step.drop), step)

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> candidates, over all steps."""
        counts: Counter[str] = Counter()
        for step in self.steps:
            counts.update({reason: dropped.rows for reason, dropped in step.dropped.items()})
        return dict(counts)

    def write(self, folder: Path, **more: Any) -> None:
        """Write `funnel.json`, once all candidates have passed; `more` stands in it beside the steps."""
        for step in self.steps:
            step.check()
        steps = [step.to_json() for step in self.steps]
        text = json.dumps({"steps": steps, **more}, ensure_ascii=False, indent=1)
        (folder / FUNNEL_FILE).write_text(f"{text}\n", encoding="utf-8")


def _counted_in(items: Iterable[Item], step: Step, becomes: Callable[[Item], int]) -> Iterator[Item]:
    for item in items:
        step.rows_in += 1
        step.rows_added += becomes(item) - 1
        yield item


def _counted_out(candidates: Iterator[Candidate], step: Step) -> Generator[Candidate, None, None]:
    for candidate in candidates:
        step.rows_out += 1
        yield candidate


def _example(candidate: Candidate, detail: str) -> dict[str, Any]:
    asked = [message["content"] for message in candidate.messages if message["role"] == "user"]
    said = [message["content"] for message in candidate.messages[-1:] if message["role"] == "assistant"]
    texts = {
        "prompt": _beginning(asked[-1]) if asked else "",
        "answer": _end(said[-1]) if said else "",
        "detail": _beginning(detail),
    }
    place = {"source": candidate.source, "row": candidate.row, "sample": candidate.sample}
    return place | {name: text for name, text in texts.items() if text}


def _beginning(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[: _EXAMPLE_CHARACTERS - 1]}…"


def _end(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else f"…{text[1 - _EXAMPLE_CHARACTERS :]}"

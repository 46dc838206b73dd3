"""What became of each branch's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchmerge_trainer.report.curation import Asked, Dropped, Example, PassRates
from branchmerge_trainer.report.facts import Branch

_ALWAYS = 2
"""Steps of every curation: one reads the rows, one puts them in their order. Those between them are filters."""


@dataclass(frozen=True)
class Drop:
    """Rows that were left out."""

    step: str
    reason: str
    rows: int
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class Step:
    """One step on the way of the rows."""

    name: str
    came: int
    added: int
    """More rows than came in: each further answer to a prompt."""
    left: int
    drops: tuple[Drop, ...]

    @property
    def all(self) -> int:
        """Rows that the step knew."""
        return max(self.came + self.added, self.left)


@dataclass(frozen=True)
class Funnel:
    """From the rows that were read to those that were learned."""

    branch: str
    steps: tuple[Step, ...]
    """Those of the curation, then the training, which leaves out what does not fit."""
    truncated: int
    """Of those learned: rows of which a part was cut off."""
    packs: int
    """Sequences that the rows were packed into."""
    replay: str
    """Share of each batch and where it is drawn from; empty without replay."""
    pass_rates: PassRates | None
    asked: Sequence[Asked]

    @property
    def read(self) -> int:
        """Rows, or prompts, of the sources."""
        return self.steps[0].came

    @property
    def added(self) -> int:
        """Further answers to prompts."""
        return sum(step.added for step in self.steps)

    @property
    def learned(self) -> int:
        """Rows that the specialist was trained on."""
        return self.steps[-1].left

    @property
    def drops(self) -> list[Drop]:
        """Of all steps, in their order."""
        return [drop for step in self.steps for drop in step.drops]

    @property
    def examples(self) -> list[tuple[Drop, Example]]:
        """Of all drops."""
        return [(drop, example) for drop in self.drops for example in drop.examples]

    @property
    def most(self) -> int:
        """Rows of the step that knew the most, at least 1."""
        return max(1, *(step.all for step in self.steps))

    @property
    def short(self) -> bool:
        """Whether one line says it all: complete rows that no filter was asked to look at."""
        first, *others = self.steps[:-1]
        changed = any(step.added or step.drops for step in others)
        return not (len(self.steps) - 1 > _ALWAYS or changed or first.added or self.pass_rates or self.asked)


def funnel(branch: Branch) -> Funnel:
    """The branch's rows."""
    trained = branch.training.result
    kept = int(branch.curation.result.figures.get("rows", 0))
    return Funnel(
        branch=branch.name,
        steps=(*_curation(branch, kept), _step("train", trained.dropped, kept - sum(trained.dropped.values()))),
        truncated=int(trained.figures.get("truncated", 0)),
        packs=int(trained.figures.get("packs", 0)),
        replay=_replay(branch.training.ingredients.get("replay")),
        pass_rates=branch.record.pass_rates,
        asked=branch.record.asked,
    )


def reasons(funnels: Iterable[Funnel]) -> list[str]:
    """All reasons for which rows were dropped, each once, in the order of the steps."""
    return list(dict.fromkeys(drop.reason for each in funnels for drop in each.drops))


def _curation(branch: Branch, kept: int) -> Iterator[Step]:
    """The steps that the curation counted; where it did not, its result as one step."""
    if not branch.record.steps:
        yield _step("curate", branch.curation.result.dropped, kept)
    for step in branch.record.steps:
        yield Step(step.name, step.came, step.added, step.left, tuple(_drops(step.name, step.dropped)))


def _step(name: str, dropped: Mapping[str, int], left: int) -> Step:
    drops = {reason: Dropped(rows=rows) for reason, rows in dropped.items()}
    return Step(name, left + sum(dropped.values()), 0, left, tuple(_drops(name, drops)))


def _drops(step: str, dropped: Mapping[str, Dropped]) -> Iterator[Drop]:
    """Most rows first."""
    found = sorted(dropped.items(), key=lambda item: -item[1].rows)
    return (Drop(step, reason, each.rows, each.examples) for reason, each in found if each.rows)


def _replay(replay: Mapping[str, Any] | None) -> str:
    return "" if replay is None else f"{replay['fraction']:.0%} of each batch from {', '.join(replay['from'])}"

"""What became of each branch's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from branchmerge_trainer.report.facts import Branch


@dataclass(frozen=True)
class Drop:
    """Rows that were left out."""

    stage: str
    """`curate` or `train`."""
    reason: str
    rows: int


@dataclass(frozen=True)
class Funnel:
    """From the rows that were read to those that were learned."""

    branch: str
    read: int
    drops: tuple[Drop, ...]
    learned: int
    truncated: int
    """Of those learned: rows of which a part was cut off."""
    packs: int
    """Sequences that the rows were packed into."""
    replay: str
    """Share of each batch and where it is drawn from; empty without replay."""


def funnel(branch: Branch) -> Funnel:
    """The branch's rows."""
    curated, trained = branch.curation.result, branch.training.result
    kept = int(curated.figures.get("rows", 0))
    drops = tuple(
        Drop(stage, reason, count)
        for stage, result in (("curate", curated), ("train", trained))
        for reason, count in result.dropped.items()
    )
    return Funnel(
        branch=branch.name,
        read=kept + sum(curated.dropped.values()),
        drops=drops,
        learned=kept - sum(trained.dropped.values()),
        truncated=int(trained.figures.get("truncated", 0)),
        packs=int(trained.figures.get("packs", 0)),
        replay=_replay(branch.training.ingredients.get("replay")),
    )


def _replay(replay: Mapping[str, Any] | None) -> str:
    return "" if replay is None else f"{replay['fraction']:.0%} of each batch from {', '.join(replay['from'])}"

"""Rows that card and page both show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge.api.merge import STUDENT
from branchmerge.api.stage import Difference, Score
from branchmerge_trainer.report.facts import Branch, Facts


@dataclass(frozen=True)
class Cell:
    """One model on one suite."""

    score: Score
    gain: Difference | None
    """To the student."""

    @property
    def tone(self) -> str:
        """`up` or `down` where the gain's interval is clear of zero, else empty."""
        if self.gain is None:
            return ""
        return "up" if self.gain.ci95[0] > 0 else "down" if self.gain.ci95[1] < 0 else ""


@dataclass(frozen=True)
class FunnelRow:
    """What became of a branch's rows."""

    stage: str
    figure: str
    count: int


def score_table(facts: Facts) -> tuple[list[str], list[tuple[str, list[Cell | None]]]]:
    """(suites, [(model, a cell for each suite)])."""
    suites = [suite.name for suite in facts.task.suites]
    rows = []
    for model in facts.evaluations:
        cells = []
        for suite in suites:
            score = facts.scores.get((model, suite))
            gain = None if model == STUDENT else facts.difference(model, suite)
            cells.append(None if score is None else Cell(score, gain))
        rows.append((model, cells))
    return suites, rows


def funnel(branch: Branch) -> list[FunnelRow]:
    """Rows read, dropped by reason in curation and in training, and trained on."""
    kept = int(branch.curation.figures.get("rows", 0))
    read = kept + sum(branch.curation.dropped.values())
    rows = [FunnelRow("curate", "rows read", read)]
    rows += [FunnelRow("curate", f"dropped: {reason}", count) for reason, count in branch.curation.dropped.items()]
    rows += [FunnelRow("train", f"dropped: {reason}", count) for reason, count in branch.training.dropped.items()]
    rows.append(FunnelRow("train", "rows trained on", kept - sum(branch.training.dropped.values())))
    return rows


def layer_groups(tensors: Sequence[dict[str, object]]) -> list[tuple[str, float]]:
    """Share of changed elements by kind of tensor, such as `self_attn.q_proj`, over all layers; most changed first."""
    changed: dict[str, float] = {}
    total: dict[str, int] = {}
    for row in tensors:
        group = _group(str(row["tensor"]))
        elements = int(str(row["elements"]))
        changed[group] = changed.get(group, 0.0) + elements * float(str(row["changed"]))
        total[group] = total.get(group, 0) + elements
    shares = [(group, changed[group] / total[group]) for group in total if total[group]]
    return sorted(shares, key=lambda each: -each[1])


def overall_density(tensors: Sequence[dict[str, object]]) -> float:
    """Share (0-1) of all elements that the step has changed."""
    total = sum(int(str(row["elements"])) for row in tensors)
    return sum(int(str(row["elements"])) * float(str(row["changed"])) for row in tensors) / max(1, total)


def _group(tensor: str) -> str:
    parts = [part for part in tensor.removeprefix("model.").split(".") if not part.isdigit()]
    return ".".join(parts).removeprefix("layers.").removesuffix(".weight")

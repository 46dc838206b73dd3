"""How the page shows what became of the rows: colours, bars and the histogram of pass rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from branchmerge_trainer.report.curation import PassRates
from branchmerge_trainer.report.plots.columns import columns
from branchmerge_trainer.report.plots.curves import COLOURS
from branchmerge_trainer.report.plots.waterfall import waterfall
from branchmerge_trainer.report.rows import passrates
from branchmerge_trainer.report.rows.data import Funnel, Step, reasons

MOST_OPEN = 8
"""Branches up to which each is shown at once; of more, all are folded."""


def tones(funnels: Iterable[Funnel]) -> dict[str, str]:
    """The colour (class) of each reason, the same in all branches.

    The first of the series is nearly that of rows that went on, so no reason has it. Beyond the others, colours repeat.
    """
    return {reason: f"series-{1 + index % (COLOURS - 1)}" for index, reason in enumerate(reasons(funnels))}


def step_bar(step: Step, most: int, tones: Mapping[str, str]) -> Markup:
    """A step's rows: those that went on, the further answers among them, and those that were dropped by reason."""
    through = min(step.left, step.came)
    parts = [("learned", through), ("added", step.left - through)]
    return waterfall(step.all, most, [*parts, *((tones[drop.reason], drop.rows) for drop in step.drops)])


def rates_figure(rates: PassRates) -> Markup:
    """Prompts by how many of their answers were right; nothing where no answer was judged."""
    found = passrates.columns(rates)
    told = ", ".join(f"{column.label}: {column.prompts:,}" for column in found)
    return columns(f"Prompts by right answers: {told}", [(column.label, column.share) for column in found])

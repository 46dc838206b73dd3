"""The HTML page: one file that needs nothing else, not even a script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from branchmerge.api.evaluation import Suite
from branchmerge.api.merge import STUDENT
from branchmerge_trainer.report.conclusions import Conclusions
from branchmerge_trainer.report.facts import Branch, Facts
from branchmerge_trainer.report.funnels import MOST_OPEN, rates_figure, step_bar, tones
from branchmerge_trainer.report.plots import rows as plots
from branchmerge_trainer.report.plots.curves import COLOURS, curves
from branchmerge_trainer.report.plots.scale import Scale, linear
from branchmerge_trainer.report.rows import lineage
from branchmerge_trainer.report.rows.asked import asked_rows, asked_total, money
from branchmerge_trainer.report.rows.cost import PARTS, costs, duration, total_cost
from branchmerge_trainer.report.rows.data import funnel
from branchmerge_trainer.report.rows.merge import density
from branchmerge_trainer.report.rows.scores import ScoreCell, score_cell, score_rows, suite_rows
from branchmerge_trainer.report.rows.settings import settings
from branchmerge_trainer.report.verdict import gains, specialist_gaps

_SIGNED = re.compile(r"(?:^| |\[)[+-](?=\d)")


@dataclass(frozen=True)
class SuiteChart:
    """All models on one suite."""

    suite: Suite
    scale: Scale
    reference: float | None
    """The student's score."""
    cells: list[ScoreCell]


@dataclass(frozen=True)
class Run:
    """One curve of the loss chart, for its legend."""

    branch: str
    colour: int
    steps: int
    tokens: int
    first: float
    final: float
    """Mean loss of the last steps."""


def html_page(facts: Facts, conclusions: Conclusions) -> str:
    """The page of a job."""
    return _environment().get_template("report.html.jinja").render(_view(facts, conclusions))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("branchmerge_trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": lineage.short, "duration": duration, "breakable": _breakable, "typeset": _typeset}
    drawn = (plots.axis, plots.bar, plots.interval, plots.strip, plots.strip_axis, rates_figure, step_bar)
    environment.globals |= {function.__name__: function for function in drawn}
    return environment


def _view(facts: Facts, conclusions: Conclusions) -> dict[str, Any]:
    """What the template shows, by the names that it uses."""
    found, gaps = gains(facts), specialist_gaps(facts)
    funnels = [funnel(branch) for branch in facts.branches]
    runs = [_run(index, branch) for index, branch in enumerate(facts.branches) if branch.history]
    return {
        "job": facts.job,
        "conclusions": conclusions,
        "student": facts.task.student,
        "gains": found,
        "gaps": gaps,
        "gain_scale": linear([0.0, *(end for each in (*found, *gaps) for end in (each.low, each.high))]),
        "suites": facts.task.suites,
        "scores": score_rows(facts),
        "charts": [_suite_chart(facts, suite) for suite in facts.task.suites if facts.evaluations],
        "asked": suite_rows(facts),
        "engine": lineage.engine(facts),
        "losses": _losses(facts.branches, runs),
        "runs": runs,
        "branches": [branch.name for branch in facts.branches],
        "settings": settings(facts.branches),
        "funnels": funnels,
        "tones": tones(funnels),
        "most_open": MOST_OPEN,
        "densities": [density(merge) for merge in facts.merges],
        "costs": costs(facts),
        "total": total_cost(facts),
        "cost_parts": PARTS,
        "answers": asked_rows(facts),
        "answers_total": asked_total(facts),
        "money": money(facts),
        "inputs": lineage.inputs(facts),
        "made": lineage.made(facts),
        "versions": lineage.versions(facts),
        "spec_digest": lineage.spec_digest(facts),
        "spec": json.dumps(facts.task.spec, indent=2, ensure_ascii=False),
    }


def _suite_chart(facts: Facts, suite: Suite) -> SuiteChart:
    cells = [score_cell(facts, model, suite.name) for model in facts.evaluations]
    student = facts.scores.get((STUDENT, suite.name))
    return SuiteChart(
        suite=suite,
        scale=linear([end for cell in cells for end in cell.score.ci95]),
        reference=student.value if student else None,
        cells=cells,
    )


def _run(index: int, branch: Branch) -> Run:
    return Run(
        branch=branch.name,
        colour=index % COLOURS,
        steps=branch.history[-1].step,
        tokens=sum(record.tokens for record in branch.history),
        first=branch.history[0].loss,
        final=branch.training.result.figures.get("loss", branch.history[-1].loss),
    )


def _losses(branches: Sequence[Branch], runs: Sequence[Run]) -> Markup:
    told = "; ".join(f"{run.branch} from {run.first:.3f} to {run.final:.3f} in {run.steps} steps" for run in runs)
    lines = {branch.name: [(record.step, record.loss) for record in branch.history] for branch in branches}
    return curves(f"Training loss over steps: {told}", lines)


def _breakable(text: str) -> Markup:
    """The text, which may be broken after slashes and dots where it does not fit."""
    return Markup().join(_pieces(text))


def _typeset(text: str) -> str:
    """Figures with a true minus, not broken from the word before them."""
    return _SIGNED.sub(lambda found: found[0].replace(" ", "\u00a0").replace("-", "−"), text)


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for character in text:
        piece += character
        if character in "/._-":
            yield piece
            yield Markup("<wbr>")
            piece = ""
    yield piece

"""The HTML page: one file that needs nothing else, not even a script."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import GateResult, StageAccount
from branchmerge_trainer.report.charts import Dot, bars, curves, dots
from branchmerge_trainer.report.facts import Facts
from branchmerge_trainer.report.tables import funnel, layer_groups, overall_density, score_table

_GROUPS = 12
"""Kinds of tensors that a chart shows."""


def html_page(facts: Facts, verdict: str, notes: Sequence[str], gates: Sequence[GateResult]) -> str:
    """The page of a job."""
    environment = Environment(
        loader=PackageLoader("branchmerge_trainer.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    suites, rows = score_table(facts)
    return environment.get_template("report.html.jinja").render(
        job=facts.job,
        verdict=verdict,
        notes=notes,
        gates=gates,
        suites=suites,
        rows=rows,
        charts=[(suite, Markup(_suite_chart(facts, suite))) for suite in suites],  # noqa: S704 - our own SVG, escaped
        losses=Markup(_loss_chart(facts)),  # noqa: S704
        funnels=[(branch.name, funnel(branch)) for branch in facts.branches],
        trainings=[(branch.name, branch.training.figures) for branch in facts.branches],
        merges=[
            (step.name, overall_density(step.tensors), Markup(_merge_chart(step.name, step.tensors)))  # noqa: S704
            for step in facts.merges
        ],
        recipe=facts.task.spec["merge"]["recipe"],
        student=facts.task.student,
        results=facts.results,
        versions=_versions(facts),
        accounts=facts.task.accounts,
        total=_total(facts.task.accounts),
        spec=json.dumps(facts.task.spec, indent=2, ensure_ascii=False),
    )


def _suite_chart(facts: Facts, suite: str) -> str:
    rows = [
        Dot(model, score.value, *score.ci95, strong=model == MERGED)
        for (model, name), score in facts.scores.items()
        if name == suite
    ]
    student = facts.scores.get((STUDENT, suite))
    return dots(f"Scores on {suite}", rows, reference=student.value if student else None) if rows else ""


def _loss_chart(facts: Facts) -> str:
    series = {branch.name: [(entry["step"], entry["loss"]) for entry in branch.history] for branch in facts.branches}
    return curves("Loss of each branch over its steps", {name: line for name, line in series.items() if line})


def _merge_chart(name: str, tensors: Sequence[dict[str, object]]) -> str:
    return bars(f"Changed weights in step {name}, by kind of tensor", layer_groups(tensors)[:_GROUPS])


def _versions(facts: Facts) -> dict[str, str]:
    versions: dict[str, str] = {}
    for result in facts.results.values():
        for library, version in result.versions.items():
            known = versions.setdefault(library, version)
            if version not in known.split(", "):
                versions[library] = f"{known}, {version}"
    return versions


def _total(accounts: Sequence[StageAccount]) -> dict[str, float]:
    names = ("seconds", "gpu_hours", "useful_gpu_hours", "lost_gpu_hours", "starting_gpu_hours")
    return {name: sum(getattr(account, name) for account in accounts) for name in names}

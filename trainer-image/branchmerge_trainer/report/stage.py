"""The report of a job: `README.md`, `report.html` and `report.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from branchmerge.api.stage import ReportTask
from branchmerge_trainer.report.card import model_card
from branchmerge_trainer.report.facts import Facts, gather
from branchmerge_trainer.report.page import html_page
from branchmerge_trainer.report.verdict import findings, judge, remarks, verdict
from branchmerge_trainer.runtime import Findings, StageContext


def run(task: ReportTask, context: StageContext, folder: Path) -> Findings:
    """Write the three files."""
    context.progress.phase("writing the report")
    facts = gather(context.config.job, task, context.workspace)
    scores = [(model, score) for (model, _), score in facts.scores.items()]
    words = verdict(task.suites, scores, findings(task.suites, facts.differences))
    notes = remarks(task.suites, scores, facts.differences)
    gates = judge(task.gates, scores, facts.differences)
    (folder / "README.md").write_text(model_card(facts, words, notes, gates), encoding="utf-8")
    (folder / "report.html").write_text(html_page(facts, words, notes, gates), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(data(facts, words), indent=2) + "\n", encoding="utf-8")
    return Findings(differences=facts.differences, gates=gates, verdict=words)


def data(facts: Facts, words: str) -> dict[str, Any]:
    """What `branchmerge report --format json` prints."""
    return {
        "job": facts.job,
        "verdict": words,
        "scores": [
            {
                "model": model,
                "suite": score.suite,
                "metric": score.metric,
                "value": score.value,
                "ci95": list(score.ci95),
                "n": score.n,
            }
            for (model, _), score in facts.scores.items()
        ],
        "differences": [
            {
                "model": each.model,
                "baseline": each.baseline,
                "suite": each.suite,
                "value": each.value,
                "ci95": list(each.ci95),
            }
            for each in facts.differences
        ],
        "stages": [
            {
                "stage": account.stage,
                "fingerprint": account.fingerprint,
                "attempts": account.attempts,
                "seconds": account.seconds,
                "gpuHours": account.gpu_hours,
            }
            for account in facts.task.accounts
        ],
    }

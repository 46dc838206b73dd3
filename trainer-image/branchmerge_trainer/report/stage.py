"""The report of a job: `README.md` (model card), `report.html` and `report.json`."""

from __future__ import annotations

import json
from pathlib import Path

from branchmerge.api.merge import STUDENT
from branchmerge.api.stage import ReportTask
from branchmerge_trainer.report.card import model_card
from branchmerge_trainer.report.conclusions import conclude
from branchmerge_trainer.report.data import data
from branchmerge_trainer.report.gather import gather
from branchmerge_trainer.report.page import html_page
from branchmerge_trainer.runtime import Findings, StageContext


def run(task: ReportTask, context: StageContext, folder: Path) -> Findings:
    """Write the three files. Raises InputError where the output of a stage is not there."""
    context.progress.phase("reading results")
    facts = gather(context.config.job, task, context.workspace)
    found = conclude(facts)
    context.progress.phase("writing the report")
    files = {
        "README.md": model_card(facts, found),
        "report.html": html_page(facts, found),
        "report.json": json.dumps(data(facts, found.verdict), indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    # Those to specialists are in report.json: a termination message has little room.
    differences = [each.as_difference() for each in facts.comparisons if each.baseline == STUDENT]
    return Findings(differences=differences, gates=found.gates, verdict=found.verdict)

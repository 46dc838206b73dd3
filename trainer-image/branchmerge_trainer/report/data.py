"""The report as data: what `branchmerge report --format json` prints."""

from __future__ import annotations

from typing import Any

from branchmerge.api.stage import StageAccount
from branchmerge_trainer.report.comparisons import Comparison
from branchmerge_trainer.report.facts import Branch, Facts
from branchmerge_trainer.report.rows.data import funnel


def data(facts: Facts, verdict: str) -> dict[str, Any]:
    """Names of fields are a promise to scripts."""
    return {
        "job": facts.job,
        "verdict": verdict,
        "scores": [
            {
                "model": model,
                "suite": suite,
                "metric": score.metric,
                "value": score.value,
                "ci95": list(score.ci95),
                "n": score.n,
            }
            for (model, suite), score in facts.scores.items()
        ],
        "differences": [_difference(each) for each in facts.comparisons],
        "data": [_rows(branch) for branch in facts.branches],
        "stages": [_stage(account) for account in facts.task.accounts],
    }


def _difference(comparison: Comparison) -> dict[str, Any]:
    return {
        "model": comparison.model,
        "baseline": comparison.baseline,
        "suite": comparison.suite,
        "value": comparison.value,
        "ci95": [comparison.low, comparison.high],
    }


def _rows(branch: Branch) -> dict[str, Any]:
    """What became of a branch's rows, without the examples, which are texts that anyone may have written."""
    found = funnel(branch)
    return {
        "branch": found.branch,
        "read": found.read,
        "learned": found.learned,
        "steps": [
            {
                "name": step.name,
                "in": step.came,
                "added": step.added,
                "out": step.left,
                "dropped": {drop.reason: drop.rows for drop in step.drops},
            }
            for step in found.steps
        ],
        "passRates": None if found.pass_rates is None else found.pass_rates.model_dump(mode="json"),
        "asked": [each.model_dump(mode="json") for each in found.asked],
    }


def _stage(account: StageAccount) -> dict[str, Any]:
    return {
        "stage": account.stage,
        "fingerprint": account.fingerprint,
        "attempts": account.attempts,
        "seconds": account.seconds,
        "gpuHours": account.gpu_hours,
    }

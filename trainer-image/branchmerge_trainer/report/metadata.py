"""The metadata of the model card, as the Hugging Face Hub reads it."""

from __future__ import annotations

from collections.abc import Iterable

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in __all__

from branchmerge.api.resource import MERGED
from branchmerge_trainer.report.facts import Facts
from branchmerge_trainer.report.rows.lineage import hub_datasets

TAGS = ("mergekit", "merge", "branch-merge-distillation")


def metadata(facts: Facts) -> ModelCardData:
    """Without a licence, which only the owner can give. Scores are those on Test suites."""
    methods = sorted({str(merge.step["method"]) for merge in facts.merges})
    return ModelCardData(
        base_model=facts.student_hub_id,
        datasets=list(_hub_ids(hub_datasets(facts))) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[*TAGS, *methods],
        model_name=facts.job,
        eval_results=_results(facts) or None,
    )


def is_hub_id(text: str) -> bool:
    """Whether the Hub could know a repository by this name. A path of two parts looks the same."""
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return "/" in text


def _hub_ids(names: Iterable[str]) -> Iterable[str]:
    return filter(is_hub_id, names)


def _results(facts: Facts) -> list[EvalResult]:
    scores = [facts.scores[MERGED, suite.name] for suite in facts.test_suites if MERGED in facts.evaluations]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.suite,
            dataset_name=score.suite,
            metric_type=score.metric,
            metric_value=round(score.value, 4),
            metric_name=score.metric,
        )
        for score in scores
    ]

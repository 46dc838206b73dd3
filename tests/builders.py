"""Objects for tests, each valid as it is; a test names only what it is about."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import GateResult, Progress, Score, StageResult
from branchmerge.core.model import Attempt, AttemptState, FailureClass

EPOCH = datetime(2025, 3, 1, 12, tzinfo=UTC)

_DOCUMENT: dict[str, Any] = {
    "apiVersion": "branchmerge.dev/v1alpha1",
    "kind": "DistillationJob",
    "metadata": {"name": "tiny", "generation": 1},
    "spec": {
        "student": {"model": "models/student"},
        "training": {"learningRate": 1e-5, "globalBatchSize": 8},
        "branches": [
            {"name": "math", "data": {"sources": [{"path": "data/math.jsonl"}]}},
            {"name": "coding", "data": {"sources": [{"path": "data/coding.jsonl"}]}},
            {
                "name": "science",
                "data": {"sources": [{"dataset": {"repo": "acme/science"}}]},
                "replay": {"fraction": 0.1, "from": ["math"]},
            },
        ],
        "merge": {
            "recipe": [
                {"name": "math-science", "method": "arcee_fusion", "base": "science", "models": ["math"]},
                {"name": "final", "method": "arcee_fusion", "base": "coding", "models": ["math-science"]},
            ]
        },
        "evaluation": {
            "suites": [
                {"name": "house", "path": "eval/house.jsonl", "method": "exact"},
                {"name": "guide", "path": "eval/guide.jsonl", "method": "math", "role": "Validation"},
            ],
            "gates": [{"suite": "house", "minGain": "0.02"}],
        },
    },
}

REMOVED: Any = object()
"""As a value of `edited`: take the field away."""


def at(seconds: float) -> datetime:
    """A moment, in seconds since the tests' epoch."""
    return EPOCH + timedelta(seconds=seconds)


def make_document(edits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same job as a user writes it, unchecked, with edits by path, as in `{"spec.branches.0.name": "maths"}`."""
    document = copy.deepcopy(_DOCUMENT)
    for path, value in (edits or {}).items():
        _set(document, path.split("."), value if value is REMOVED else copy.deepcopy(value))
    return document


def make_job(edits: Mapping[str, Any] | None = None, **metadata: Any) -> DistillationJob:
    """A job of three branches, a recipe of two steps and two suites, with edits as of `edited`."""
    document = copy.deepcopy(_DOCUMENT)
    document["metadata"] |= metadata
    return edited(DistillationJob.model_validate(document), edits or {})


def edited(job: DistillationJob, edits: Mapping[str, Any]) -> DistillationJob:
    """The job with parts of its spec replaced, as in `{"branches.0.training.learningRate": 2e-5}`."""
    document = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for path, value in edits.items():
        _set(document["spec"], path.split("."), value)
    return DistillationJob.model_validate(document)


def make_attempt(stage: str = "train/math", fingerprint: str = "f" * 64, number: int = 1, **fields: Any) -> Attempt:
    """A running attempt that started at the epoch."""
    known: dict[str, Any] = {"state": AttemptState.RUNNING, "started_at": at(0)}
    return Attempt(stage, fingerprint, number, **(known | fields))


def ended_attempt(
    failure: FailureClass | None, seconds: float, number: int = 1, start: float = 0.0, **fields: Any
) -> Attempt:
    """An attempt that ended `seconds` after the epoch; well where `failure` is None."""
    state = AttemptState.SUCCEEDED if failure is None else AttemptState.FAILED
    known = {"state": state, "failure": failure, "started_at": at(start), "ended_at": at(seconds), "reason": "Error"}
    return make_attempt(number=number, **(known | fields))


def make_progress(step: int, steps: int, seconds: float = 0.0, **fields: Any) -> Progress:
    """Progress as it was reported `seconds` after the epoch."""
    return Progress(step=step, steps=steps, updated_at=at(seconds), **fields)


def make_result(stage: str, fingerprint: str, **fields: Any) -> StageResult:
    """What a stage says that took the first minute after the epoch."""
    known = {"digest": f"{stage}-{fingerprint[:8]}", "started_at": at(0), "finished_at": at(60)}
    return StageResult(stage=stage, fingerprint=fingerprint, **(known | fields))


def make_score(suite: str = "house", value: float = 0.5, **fields: Any) -> Score:
    """A score with an interval of 0.1 to both sides."""
    known = {"metric": "pass@1", "ci95": (value - 0.1, value + 0.1), "n": 100}
    return Score(suite=suite, value=value, **(known | fields))


def make_gate_result(suite: str = "house", *, passed: bool = True) -> GateResult:
    """What the report says of a gate."""
    return GateResult(suite=suite, passed=passed, bound="PointEstimate", message=f"gain 0.1, passed: {passed}")


def _set(node: Any, path: list[str], value: Any) -> None:
    key: str | int = int(path[0]) if isinstance(node, list) else path[0]
    if len(path) > 1:
        if isinstance(node, dict):
            node.setdefault(key, {})
        _set(node[key], path[1:], value)
    elif value is REMOVED:
        del node[key]
    elif isinstance(node, list) and key == len(node):
        node.append(value)
    else:
        node[key] = value

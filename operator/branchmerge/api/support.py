"""Which parts of the API this version does not carry out yet. They are refused, never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator

from branchmerge.api.evaluation import Engine, Evaluation
from branchmerge.api.resource import Spec
from branchmerge.api.training import Overlong


def unsupported(spec: Spec) -> list[str]:
    """A line `not supported yet: spec.…` for each part that this version cannot carry out."""
    return [f"not supported yet: spec.{where}" for where in _fields(spec)]


def _fields(spec: Spec) -> Iterator[str]:
    for index, branch in enumerate(spec.branches):
        if spec.training_of(branch).overlong is Overlong.SPLIT:
            yield f"branches[{index}].training.overlong: Split (use Drop or Truncate)"
    if spec.merge.candidates is not None:
        yield "merge.candidates (use merge.recipe)"
    if spec.evaluation is not None:
        yield from _evaluation_fields(spec.evaluation)


def _evaluation_fields(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.engine is Engine.VLLM:
        yield "evaluation.engine: vllm (use transformers)"
    for index, suite in enumerate(evaluation.suites):
        if suite.builtin is not None:
            yield f"evaluation.suites[{index}].builtin (use path)"

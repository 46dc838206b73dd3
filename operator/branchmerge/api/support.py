"""Which parts of the API this version does not carry out yet. They are refused, never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic.alias_generators import to_camel

from branchmerge.api.base import SpecModel
from branchmerge.api.data import DataSpec
from branchmerge.api.evaluation import Engine, Evaluation
from branchmerge.api.resource import Spec
from branchmerge.api.training import Overlong

_SOURCE = ("max_rows", "weight")
_DATA = ("verify", "select", "deduplicate", "decontaminate", "require", "shuffle")
_LIMITS = ("min_tokens", "max_tokens")
"""Fields of a branch's sources, data and limits that no curation carries out yet."""


def unsupported(spec: Spec) -> list[str]:
    """A line `not supported yet: spec.…` for each part that this version cannot carry out."""
    return [f"not supported yet: spec.{where}" for where in _fields(spec)]


def _fields(spec: Spec) -> Iterator[str]:
    yield from _curation_fields(spec)
    for index, branch in enumerate(spec.branches):
        if spec.training_of(branch).overlong is Overlong.SPLIT:
            yield f"branches[{index}].training.overlong: Split (use Drop or Truncate)"
    if spec.merge.candidates is not None:
        yield "merge.candidates (use merge.recipe)"
    if spec.evaluation is not None:
        yield from _evaluation_fields(spec.evaluation)


def _curation_fields(spec: Spec) -> Iterator[str]:
    if spec.teacher is not None:
        yield "teacher"
    for index, branch in enumerate(spec.branches):
        yield from _set_fields(branch, ("teacher",), f"branches[{index}]")
        yield from _data_fields(branch.data, f"branches[{index}].data")


def _data_fields(data: DataSpec, where: str) -> Iterator[str]:
    for index, source in enumerate(data.sources):
        if source.prompts is not None:
            yield f"{where}.sources[{index}].prompts (use dataset or path with complete rows)"
        yield from _set_fields(source, _SOURCE, f"{where}.sources[{index}]")
    yield from _set_fields(data, _DATA, where)
    if data.limits is not None:
        yield from _set_fields(data.limits, _LIMITS, f"{where}.limits")


def _set_fields(model: SpecModel, names: Sequence[str], where: str) -> Iterator[str]:
    """Of these fields, those that the user has set."""
    for name in names:
        if getattr(model, name) is not None:
            yield f"{where}.{to_camel(name)}"


def _evaluation_fields(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.engine is Engine.VLLM:
        yield "evaluation.engine: vllm (use transformers)"
    for index, suite in enumerate(evaluation.suites):
        if suite.builtin is not None:
            yield f"evaluation.suites[{index}].builtin (use path)"

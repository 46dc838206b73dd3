"""A step of a recipe -> mergekit's configuration; refuses what mergekit would ignore, or find out in mid-merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergekit import merge_methods
from mergekit.common import ModelPath, ModelReference
from mergekit.config import InputModelDefinition, MergeConfiguration
from mergekit.merge_methods.base import BasePolicy, MergeMethodSpec
from pydantic import ValidationError

from branchmerge.api.errors import InputError
from branchmerge.api.merge import MergeStep
from branchmerge.api.stage import MergeTask

_WEIGHT = "weight"
_SHARES = frozenset({"density", "gamma", "select_topk"})
"""Parameters that are a share of elements."""


def configuration(task: MergeTask, folders: Mapping[str, Path]) -> MergeConfiguration:
    """What mergekit is to do for the task's step; `folders` maps each name that the step uses to its model.

    Weights are set model by model; every other parameter once for all, from where mergekit takes it for each model.
    Raises InputError where the step gives the method what it does not take.
    """
    step = task.step
    spec: MergeMethodSpec = merge_methods.get(step.method).spec
    for problem in _problems(step, spec):
        raise InputError(f"merge step {step.name}: {problem}")
    references = {name: ModelReference(model=ModelPath(path=str(folder))) for name, folder in folders.items()}
    weighted = any(parameter.name == _WEIGHT for parameter in spec.parameters)
    weights = step.weights or [1.0] * len(step.models)
    models = [
        InputModelDefinition(model=references[name], parameters={_WEIGHT: weight} if weighted else None)
        for name, weight in zip(step.models, weights, strict=True)
    ]
    return MergeConfiguration(
        merge_method=step.method,
        models=models,
        base_model=None if step.base is None else references[step.base],
        parameters=dict(step.parameters),
        dtype=task.dtype,
        out_dtype=task.out_dtype,
    )


def _problems(step: MergeStep, spec: MergeMethodSpec) -> Iterator[str]:
    known = {parameter.name: parameter for parameter in spec.parameters if parameter.name != _WEIGHT}
    for name in sorted(step.parameters.keys() - known.keys()):
        takes = ", ".join(sorted(known)) or "none"
        yield f"parameters.{name}: method {step.method} takes {takes}: correct or remove it"
    for name, parameter in known.items():
        if name not in step.parameters:
            if parameter.required:
                yield f"parameters: method {step.method} needs {name}: add it"
            continue
        value = step.parameters[name]
        try:
            parameter.validate(value)
        except ValidationError as error:
            yield f"parameters.{name}: {value!r}: {error.errors()[0]['msg']}"
        if name in _SHARES and not 0 <= value <= 1:
            yield f"parameters.{name}: {value!r} is no share: use a number from 0 to 1"
    if "epsilon" in known:
        yield from _epsilon_problems(step.parameters, known["epsilon"].default)
    if step.base is not None and spec.contract.base is BasePolicy.IGNORED:
        yield f"base: method {step.method} ignores a base: put {step.base!r} into models"
    try:
        spec.contract.validate_ids(list(step.inputs), step.base)
    except ValueError as error:
        yield f"models: {error}: correct the list"


def _epsilon_problems(parameters: Mapping[str, Any], default: float) -> Iterator[str]:
    density, epsilon = parameters.get("density", 1.0), parameters.get("epsilon", default)
    if 0 < density < 1 and not epsilon < density < 1 - epsilon:
        yield (
            f"parameters.epsilon: {epsilon}: density ± epsilon must lie between 0 and 1 (density is {density}): "
            "lower epsilon"
        )

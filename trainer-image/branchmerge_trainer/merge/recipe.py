"""A step of a recipe -> mergekit's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mergekit import merge_methods
from mergekit.common import ModelPath, ModelReference
from mergekit.config import InputModelDefinition, MergeConfiguration
from mergekit.merge_methods.base import MergeMethodSpec

from branchmerge.api.errors import InputError
from branchmerge.api.merge import MergeStep
from branchmerge.api.stage import MergeTask

_WEIGHT = "weight"


def configuration(task: MergeTask, folders: Mapping[str, Path]) -> MergeConfiguration:
    """What mergekit is to do for the task's step; `folders` maps each name that the step uses to its model.

    Weights are set model by model; every other parameter once for all, from where mergekit takes it for each model.
    Raises InputError where the step gives the method what the installed mergekit does not take.
    """
    step = task.step
    spec: MergeMethodSpec = merge_methods.get(step.method).spec
    for problem in _problems(step, spec):
        raise InputError(f"merge step {step.name}: {problem}")
    # Not from text, in which mergekit would look for `path@revision` and `path+adapter`.
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
    """What mergekit would silently ignore, or find out in mid-merge.

    The spec was checked by the API's table of methods; the image may hold another mergekit than the table describes.
    """
    known = {parameter.name for parameter in spec.parameters} - {_WEIGHT}
    for name in sorted(step.parameters.keys() - known):
        takes = ", ".join(sorted(known)) or "none"
        yield f"parameters.{name}: method {step.method} takes {takes}: correct or remove it"
    for parameter in spec.parameters:
        if parameter.required and parameter.name != _WEIGHT and parameter.name not in step.parameters:
            yield f"parameters: method {step.method} needs {parameter.name}: add it"
    try:
        spec.contract.validate_ids(list(step.inputs), step.base)
    except ValueError as error:
        yield f"models: {error}: correct the list"

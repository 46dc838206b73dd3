"""Fields of a spec by their full path, as messages name them and a YAML file holds them."""

from __future__ import annotations

from collections.abc import Iterator

from branchmerge.api.compute import Resources
from branchmerge.api.data import Source
from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.resource import Spec
from branchmerge.core.inputs import source_name, suite_name, template_name

STUDENT_FIELD = "spec.student.model"


def source_field(branch: int, source: int) -> str:
    """Field of a branch's source, by their places in the spec."""
    return f"spec.branches[{branch}].data.sources[{source}]"


def suite_field(suite: int) -> str:
    """Field of a suite, by its place in the spec."""
    return f"spec.evaluation.suites[{suite}]"


def input_fields(spec: Spec) -> dict[str, str]:
    """Name of each input (see `core.inputs.inputs_of`) -> field that names it."""
    fields = {"student": STUDENT_FIELD}
    for number, branch in enumerate(spec.branches):
        for index, source in enumerate(branch.data.sources):
            fields[source_name(branch.name, index)] = f"{source_field(number, index)}.{_location(source)}"
        own = branch.training is not None and "chat_template" in branch.training.model_fields_set
        where = f"spec.branches[{number}].training" if own else "spec.training"
        fields[template_name(branch.name)] = f"{where}.chatTemplate.training"
    for index, suite in enumerate(spec.evaluation.suites if spec.evaluation else ()):
        fields[suite_name(suite.name)] = f"{suite_field(index)}.path"
    return fields


def key_fields(spec: Spec) -> Iterator[tuple[str, str, SecretKeyRef]]:
    """(branch, field, key) of each endpoint that the branch's curation asks, and that needs a key."""
    for number, branch in enumerate(spec.branches):
        teacher, own = spec.teacher_of(branch), f"spec.branches[{number}]"
        if teacher is not None and teacher.api_key_secret_ref is not None:
            where = "spec" if branch.teacher is None else own
            yield branch.name, f"{where}.teacher.apiKeySecretRef", teacher.api_key_secret_ref
        judge = branch.data.verify.judge if branch.data.verify else None
        if judge is not None and judge.api_key_secret_ref is not None:
            yield branch.name, f"{own}.data.verify.judge.apiKeySecretRef", judge.api_key_secret_ref


def cluster_only(spec: Spec) -> list[str]:
    """Fields that were set and mean nothing on one machine."""
    return list(_cluster_only(spec))


def resources_of(spec: Spec) -> Iterator[tuple[str, Resources]]:
    """Every set of resources in the spec, with its field."""
    yield "spec.resources", spec.resources
    for number, branch in enumerate(spec.branches):
        if branch.data.resources is not None:
            yield f"spec.branches[{number}].data.resources", branch.data.resources
        if branch.resources is not None:
            yield f"spec.branches[{number}].resources", branch.resources
    if spec.merge.resources is not None:
        yield "spec.merge.resources", spec.merge.resources
    if spec.evaluation is not None and spec.evaluation.resources is not None:
        yield "spec.evaluation.resources", spec.evaluation.resources


def _location(source: Source) -> str:
    """Field of a source that says where it is."""
    leaf = "path" if source.hub_dataset is None else "dataset.repo"
    return leaf if source.prompts is None else f"prompts.{leaf}"


def _cluster_only(spec: Spec) -> Iterator[str]:
    for field, resources in resources_of(spec):
        for leaf in ("pool", "cpu", "memory"):
            if getattr(resources, leaf) is not None:
                yield f"{field}.{leaf}"
    if spec.workspace.persistent_volume_claim is not None:
        yield "spec.workspace.persistentVolumeClaim"
    if "deletion_policy" in spec.model_fields_set:
        yield "spec.deletionPolicy"

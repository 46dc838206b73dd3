"""Whether a job can be carried out as it is written, by what the API server could not check. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from branchmerge.api.errors import explain
from branchmerge.api.resource import DistillationJob, Spec
from branchmerge.api.support import unsupported
from branchmerge.kube.settings import OperatorSettings


def parse(body: dict[str, Any]) -> tuple[DistillationJob | None, list[str]]:
    """The job, or a line for each thing that is wrong with its spec. A status that cannot be read counts as none."""
    try:
        return DistillationJob.model_validate(body), []
    except ValidationError as error:
        problems = explain(error, DistillationJob)
        in_spec = [line for line in problems if not line.startswith("status")]
        if in_spec:
            return None, in_spec
    return DistillationJob.model_validate({key: value for key, value in body.items() if key != "status"}), []


def problems(spec: Spec, settings: OperatorSettings) -> list[str]:
    """A line `spec.…: what is wrong: fix` for each thing that this operator cannot carry out."""
    lines = unsupported(spec)
    if spec.workspace.persistent_volume_claim is None:
        lines.append("spec.workspace.persistentVolumeClaim: required on a cluster: name a claim that stages can write")
    known = ", ".join(sorted(settings.pools)) or "none is set up"
    lines += [
        f"{field}: no pool {pool!r}: use one of those that the administrator has set up ({known})"
        for field, pool in _pools(spec)
        if pool is not None and pool not in settings.pools
    ]
    return list(dict.fromkeys(lines))


def _pools(spec: Spec) -> Iterator[tuple[str, str | None]]:
    """The fields that name a pool, with what they name."""
    yield "spec.resources.pool", spec.resources.pool
    for index, branch in enumerate(spec.branches):
        yield f"spec.branches[{index}].resources.pool", spec.resources_of(branch).pool
        if branch.data.resources is not None:
            yield f"spec.branches[{index}].data.resources.pool", branch.data.resources.pool
    if spec.merge.resources is not None:
        yield "spec.merge.resources.pool", spec.merge.resources.pool
    if spec.evaluation is not None and spec.evaluation.resources is not None:
        yield "spec.evaluation.resources.pool", spec.evaluation.resources.pool

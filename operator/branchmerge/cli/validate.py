"""`branchmerge validate`: everything that can be known to be wrong without starting anything."""

from __future__ import annotations

from branchmerge.cli.console import output, remark
from branchmerge.cli.options import JobPath
from branchmerge.cli.words import plural
from branchmerge.local.fields import cluster_only
from branchmerge.local.opening import Opening


def validate(file: JobPath) -> None:
    """Check a job's file and the files that it names, and start nothing. Exit code 64 where something is wrong.

    Example: branchmerge validate distillation.yaml
    """
    opening = Opening.of(file, None)
    spec = opening.job.spec
    opening.check_inputs(may_be_elsewhere=spec.workspace.persistent_volume_claim is not None)
    counts = [
        plural(len(spec.branches), "branch", "branches"),
        plural(len(spec.merge.recipe or []), "merge step"),
        plural(len(spec.evaluation.suites) if spec.evaluation else 0, "suite"),
        plural(len(opening.stage_names()), "stage"),
    ]
    output().print(f"{file}: valid: {', '.join(counts)}", markup=False)
    if fields := cluster_only(spec):
        remark(f"apply on a cluster only: {', '.join(fields)}")

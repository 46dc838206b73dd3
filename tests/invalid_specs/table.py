"""What users get wrong, and what they are told: by `branchmerge validate`, and by an API server at admission."""

from __future__ import annotations

from invalid_specs.branches import BRANCHES, DATA_OF_A_BRANCH, ROWS, TRAINING, VERIFICATION
from invalid_specs.evaluation import EVALUATION
from invalid_specs.job import FIELDS, JOB, TEACHER
from invalid_specs.merges import METHODS, RECIPES
from invalid_specs.pods import PODS

INVALID = (
    *FIELDS,
    *JOB,
    *TEACHER,
    *BRANCHES,
    *DATA_OF_A_BRANCH,
    *VERIFICATION,
    *ROWS,
    *TRAINING,
    *METHODS,
    *RECIPES,
    *EVALUATION,
    *PODS,
)
"""Every entry; ids are unique."""

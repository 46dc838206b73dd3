"""Whether the parts of a spec fit together: each check once for pydantic, once as a CEL rule of the API server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from branchmerge.api.base import Rule
from branchmerge.api.evaluation import SuiteRole
from branchmerge.api.merge import STUDENT, MergeStep

if TYPE_CHECKING:
    from branchmerge.api.resource import Branch, Spec

_REPLAY_IS_KNOWN = Rule(
    "self.branches.all(b, !has(b.replay) || b.replay.from.all(f, self.branches.exists(o, o.name == f)))",
    "a replay.from names no branch: use the name of another branch",
    ".branches",
)
_TEACHER_ANSWERS = Rule(
    "has(self.teacher) || self.branches.all(b, has(b.teacher) || !b.data.sources.exists(s, has(s.prompts)))",
    "nobody answers the prompts of a branch: add spec.teacher, or a teacher to the branch",
    ".teacher",
)
_SUITES_TO_COMPARE_WITH = Rule(
    "has(self.evaluation) || !self.branches.exists(b, has(b.data.decontaminate))",
    "data.decontaminate compares with the suites of spec.evaluation: add it",
    ".branches",
)
_BATCH_DIVIDES = Rule(
    "self.branches.all(b, b.?training.?globalBatchSize.or(self.?training.?globalBatchSize).orValue(32)"
    " % (b.?training.?microBatchSize.or(self.?training.?microBatchSize).orValue(1)"
    " * b.?resources.?nodes.or(self.?resources.?nodes).orValue(1)"
    " * b.?resources.?processesPerNode.or(self.?resources.?processesPerNode).orValue("
    "[1, b.?resources.?gpusPerNode.or(self.?resources.?gpusPerNode).orValue(0)].max())) == 0)",
    "globalBatchSize must be a multiple of nodes x processes a node (one a GPU) x microBatchSize, in every branch",
    ".branches",
)
_CANDIDATES_ARE_SCORED = Rule(
    "!has(self.merge.candidates) || (has(self.evaluation)"
    " && self.evaluation.suites.exists(s, s.?role.orValue('Test') == 'Validation'))",
    "candidates are chosen by a Validation suite: add one to spec.evaluation.suites",
    ".merge.candidates",
)


def _recipe_rules(recipe: str, everywhere: str, field: str) -> Iterator[Rule]:
    """What `check_recipe` checks; `everywhere` says of a rule about `recipe` that it holds for each there is.

    `[x].all(name, …)` is how CEL gives x a name: lists of names are made once, because looking through the objects for
    every input of the longest recipes would cost more than the API server allows.
    """
    outside = "['student'] + self.branches.map(b, b.name)"
    inputs = "(has(s.base) ? s.models + [s.base] : s.models)"
    later = f"{recipe}.transformList(j, t, j >= i, t.name)"
    checks = {
        f"[{outside}].all(taken, {recipe}.all(s, !(s.name in taken) && {recipe}.exists_one(t, t.name == s.name)))": (
            "a step has the name of the student, a branch or another step: choose another name"
        ),
        f"[{outside} + {recipe}.map(t, t.name)].all(known, {recipe}.all(s, {inputs}.all(m, m in known)))": (
            "a step names no model: use student, a branch or an earlier step"
        ),
        f"{recipe}.all(i, s, [{later}].all(later, {inputs}.all(m, !(m in later))))": (
            "a step uses a model that a later step makes: move that step up"
        ),
    }
    for check, message in checks.items():
        yield Rule(everywhere.format(check), message, field)


RULES = (
    _REPLAY_IS_KNOWN,
    _TEACHER_ANSWERS,
    _SUITES_TO_COMPARE_WITH,
    _BATCH_DIVIDES,
    _CANDIDATES_ARE_SCORED,
    *_recipe_rules("self.merge.recipe", "!has(self.merge.recipe) || {}", ".merge.recipe"),
    *_recipe_rules("c.recipe", "!has(self.merge.candidates) || self.merge.candidates.all(c, {})", ".merge.candidates"),
)
"""All rules of a spec, in the order of `check`."""


def check(spec: Spec) -> None:
    """Raise ValueError, with the path of the field that is at fault, where two parts of `spec` do not fit together."""
    names = [branch.name for branch in spec.branches]
    for index, branch in enumerate(spec.branches):
        _check_replay(branch, names, f"branches[{index}].replay.from")
        _check_data(branch, spec, f"branches[{index}].data")
        _check_batch(branch, spec, f"branches[{index}].training")
    _check_candidates(spec)
    if spec.merge.recipe is not None:
        check_recipe(spec.merge.recipe, names, "merge.recipe")
    for index, candidate in enumerate(spec.merge.candidates or []):
        check_recipe(candidate.recipe, names, f"merge.candidates[{index}].recipe")


def _check_replay(branch: Branch, names: Sequence[str], where: str) -> None:
    for source in branch.replay.from_ if branch.replay is not None else ():
        if source not in names:
            others = ", ".join(name for name in names if name != branch.name)
            raise ValueError(
                f"{where}: no branch {source!r}: {f'use one of {others}' if others else 'there is no other'}"
            )


def _check_data(branch: Branch, spec: Spec, where: str) -> None:
    for index, source in enumerate(branch.data.sources):
        if source.prompts is not None and spec.teacher_of(branch) is None:
            raise ValueError(
                f"{where}.sources[{index}].prompts: nobody answers them: add spec.teacher, or a teacher to the branch"
            )
    if branch.data.decontaminate is not None and spec.evaluation is None:
        raise ValueError(f"{where}.decontaminate: compares with the suites of spec.evaluation: add it")


def _check_batch(branch: Branch, spec: Spec, where: str) -> None:
    training, resources = spec.training_of(branch), spec.resources_of(branch)
    ranks = resources.nodes * resources.ranks_per_node
    step, size = ranks * training.micro_batch_size, training.global_batch_size
    if size % step:
        below = size // step * step
        raise ValueError(
            f"{where}.globalBatchSize: {size} is no multiple of {ranks} ranks x microBatchSize "
            f"{training.micro_batch_size} = {step}: use {f'{below} or ' if below else ''}{below + step}"
        )


def _check_candidates(spec: Spec) -> None:
    suites = spec.evaluation.suites if spec.evaluation is not None else []
    if spec.merge.candidates is not None and all(suite.role is not SuiteRole.VALIDATION for suite in suites):
        raise ValueError(f"merge.candidates: {_CANDIDATES_ARE_SCORED.message}")


def check_recipe(recipe: Sequence[MergeStep], branches: Sequence[str], where: str) -> None:
    """Raise ValueError unless every step names `student`, a branch, or an *earlier* step, and step names are free."""
    steps = [step.name for step in recipe]
    known = {STUDENT, *branches}
    for index, step in enumerate(recipe):
        place = f"{where}[{index}]"
        if step.name in known:
            what = "the student" if step.name == STUDENT else "a branch or an earlier step"
            raise ValueError(f"{place}.name: {step.name!r} is already {what}: choose another name")
        for name in step.inputs:
            if name in known:
                continue
            field = "base" if name == step.base else "models"
            if name in steps[index:]:
                raise ValueError(f"{place}.{field}: {name!r} is made by a later step: move that step up")
            raise ValueError(f"{place}.{field}: no model {name!r}: use one of {', '.join(sorted(known))}")
        known.add(step.name)

"""What is wrong with merge methods, recipes and candidates."""

from __future__ import annotations

from typing import Any

from builders import REMOVED
from invalid_specs.entry import STEP, InvalidSpec


def step(method: str, models: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """A first step of a recipe."""
    return {"name": "first", "method": method, "models": models or ["math", "science"], **fields}


def one_step(method: str, models: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """Edits: a recipe of one step."""
    return {"spec.merge.recipe": [step(method, models, **fields)]}


def candidates(*recipes: list[dict[str, Any]], names: tuple[str, ...] = ("one", "two")) -> list[dict[str, Any]]:
    """Candidates of these recipes."""
    return [{"name": name, "recipe": recipe} for name, recipe in zip(names, recipes, strict=True)]


LINEAR = [step("linear")]

METHODS = (
    InvalidSpec(
        "neither recipe nor candidates",
        {"spec.merge.recipe": REMOVED},
        "spec.merge: set exactly one of recipe and candidates",
        "spec.merge: Invalid value: set exactly one of recipe and candidates",
    ),
    InvalidSpec(
        "a recipe of no step",
        {"spec.merge.recipe": []},
        "spec.merge.recipe: has 0 entries: give 1 or more",
        "spec.merge.recipe in body should have at least 1 items",
    ),
    InvalidSpec(
        "a method without its base",
        {f"{STEP}.base": REMOVED},
        "spec.merge.recipe[0]: method arcee_fusion needs a base: add e.g. base: student",
        "spec.merge.recipe[0]: Invalid value: this method needs a base: add e.g. base: student",
    ),
    InvalidSpec(
        "a base that the method ignores",
        one_step("linear", base="student"),
        "spec.merge.recipe[0]: method linear ignores a base: put that model into models",
        "this method ignores a base: put that model into models",
    ),
    InvalidSpec(
        "three models for a method of two",
        {f"{STEP}.models": ["math", "coding"]},
        "spec.merge.recipe[0].models: method arcee_fusion takes exactly 1 beside the base, not 2: name so many, "
        "and merge more by further steps",
        "this method takes exactly 1 beside the base: name so many, and merge more by further steps",
    ),
    InvalidSpec(
        "one model for a method of two",
        one_step("nuslerp", ["math"]),
        "spec.merge.recipe[0].models: method nuslerp takes exactly 2 beside the base, not 1: name so many, and "
        "merge more by further steps",
        "this method takes exactly 2 beside the base",
    ),
    InvalidSpec(
        "one model for a method of three",
        one_step("model_stock", ["math"], base="student"),
        "spec.merge.recipe[0].models: method model_stock takes at least 2 beside the base, not 1: name more",
        "this method takes at least 2 beside the base: name more",
    ),
    InvalidSpec(
        "a model twice",
        one_step("linear", ["math", "math"]),
        "spec.merge.recipe[0].models: 'math' is there 2 times: name each model once",
        "a model is there twice: name each model once",
    ),
    InvalidSpec(
        "the base among the models",
        {f"{STEP}.models": ["science"]},
        "spec.merge.recipe[0].models: 'science': the base is among models: remove it there",
        "the base is among models: remove it there",
    ),
    InvalidSpec(
        "fewer weights than models",
        one_step("linear", weights=[1.0]),
        "spec.merge.recipe[0].weights: 1 for 2 models: give one weight for each of models",
        "give one weight for each of models",
    ),
    InvalidSpec(
        "weights for a method that has none",
        one_step("sce", base="student", weights=[1.0, 1.0]),
        "spec.merge.recipe[0].weights: method sce takes no weights: remove them",
        "this method takes no weights: remove them",
    ),
    InvalidSpec(
        "a parameter that no method has",
        one_step("ties", base="student", parameters={"densty": 0.5}),
        "spec.merge.recipe[0].parameters.densty: no merge method has this parameter: use some of t, density, lambda, "
        "gamma, epsilon, select_topk, eps, tol, max_iter, normalize, normalize_weights, rescale, int8_mask, "
        "filter_wise, nuslerp_flatten, nuslerp_row_wise",
        'unknown field "spec.merge.recipe[0].parameters.densty"',
    ),
    InvalidSpec(
        "a parameter of another method",
        one_step("linear", parameters={"density": 0.5}),
        "spec.merge.recipe[0].parameters.density: method linear takes normalize: remove it",
        "density is a parameter of task_arithmetic, ties, dare_linear, dare_ties, della, della_linear, breadcrumbs, "
        "breadcrumbs_ties only: remove it",
    ),
    InvalidSpec(
        "weights as a parameter",
        one_step("linear", parameters={"weight": 0.5}),
        "spec.merge.recipe[0].parameters.weight: one number a model: use weights",
        'unknown field "spec.merge.recipe[0].parameters.weight"',
    ),
    InvalidSpec(
        "a number for a switch",
        one_step("linear", parameters={"normalize": 1}),
        "spec.merge.recipe[0].parameters.normalize: 1 does not fit: use true or false",
        "spec.merge.recipe[0].parameters.normalize in body must be of type boolean",
    ),
    InvalidSpec(
        "a share of more than all",
        one_step("ties", base="student", parameters={"density": 1.5}),
        "spec.merge.recipe[0].parameters.density: 1.5 does not fit: use a number from 0 to 1",
        "spec.merge.recipe[0].parameters.density in body should be less than or equal to 1",
    ),
    InvalidSpec(
        "a method without its parameter",
        one_step("slerp", ["math"], base="science"),
        "spec.merge.recipe[0].parameters: method slerp needs t: add e.g. t: 0.5",
        "this method needs a parameter t: add e.g. parameters: {t: 0.5}",
    ),
    InvalidSpec(
        "a spread of densities beyond all",
        one_step("della", base="student", parameters={"density": 0.9}),
        "spec.merge.recipe[0].parameters.epsilon: 0.15 (density 0.9): density +- epsilon must lie between 0 and 1: "
        "lower epsilon",
        "density +- epsilon must lie between 0 and 1: lower epsilon",
    ),
)

RECIPES = (
    InvalidSpec(
        "a recipe names a missing branch",
        {f"{STEP}.models": ["history"]},
        "spec.merge.recipe[0].models: no model 'history': use one of coding, math, science, student",
        "spec.merge.recipe: Invalid value: a step names no model: use student, a branch or an earlier step",
    ),
    InvalidSpec(
        "a recipe's base is a missing branch",
        {f"{STEP}.base": "history"},
        "spec.merge.recipe[0].base: no model 'history': use one of coding, math, science, student",
        "a step names no model: use student, a branch or an earlier step",
    ),
    InvalidSpec(
        "a recipe comes out of order",
        {f"{STEP}.models": ["final"]},
        "spec.merge.recipe[0].models: 'final' is made by a later step: move that step up",
        "spec.merge.recipe: Invalid value: a step uses a model that a later step makes: move that step up",
    ),
    InvalidSpec(
        "a step merges its own output",
        {"spec.merge.recipe.1.models": ["final"]},
        "spec.merge.recipe[1].models: 'final' is made by a later step: move that step up",
        "a step uses a model that a later step makes: move that step up",
    ),
    InvalidSpec(
        "a step with a branch's name",
        {"spec.merge.recipe.1.name": "math"},
        "spec.merge.recipe[1].name: 'math' is already a branch or an earlier step: choose another name",
        "a step has the name of the student, a branch or another step: choose another name",
    ),
    InvalidSpec(
        "a step with the student's name",
        {"spec.merge.recipe.1.name": "student"},
        "spec.merge.recipe[1].name: 'student' is already the student: choose another name",
        "a step has the name of the student, a branch or another step: choose another name",
    ),
    InvalidSpec(
        "two steps of one name",
        {"spec.merge.recipe.1": step("linear", ["math", "coding"], name="math-science")},
        "spec.merge.recipe[1].name: 'math-science' is already a branch or an earlier step: choose another name",
        "a step has the name of the student, a branch or another step: choose another name",
    ),
    InvalidSpec(
        "a recipe beside candidates",
        {"spec.merge.candidates": candidates(LINEAR, LINEAR)},
        "spec.merge: set exactly one of recipe and candidates",
        "set exactly one of recipe and candidates",
    ),
    InvalidSpec(
        "one candidate is no choice",
        {"spec.merge": {"candidates": candidates(LINEAR, names=("one",))}},
        "spec.merge.candidates: has 1 entries: give 2 or more",
        "spec.merge.candidates in body should have at least 2 items",
    ),
    InvalidSpec(
        "two candidates of one name",
        {"spec.merge": {"candidates": candidates(LINEAR, LINEAR, names=("one", "one"))}},
        "spec.merge.candidates: 'one' is there 2 times: give each candidate a name of its own",
        "give each candidate a name of its own",
    ),
    InvalidSpec(
        "a candidate names a missing branch",
        {"spec.merge": {"candidates": candidates(LINEAR, [step("linear", ["history"])])}},
        "spec.merge.candidates[1].recipe[0].models: no model 'history': use one of coding, math, science, student",
        "spec.merge.candidates: Invalid value: a step names no model: use student, a branch or an earlier step",
    ),
    InvalidSpec(
        "a candidate comes out of order",
        {"spec.merge": {"candidates": candidates(LINEAR, [step("linear", ["first", "math"])])}},
        "spec.merge.candidates[1].recipe[0].models: 'first' is made by a later step: move that step up",
        "a step uses a model that a later step makes: move that step up",
    ),
    InvalidSpec(
        "a candidate's step with a branch's name",
        {"spec.merge": {"candidates": candidates(LINEAR, [step("linear", name="math")])}},
        "spec.merge.candidates[1].recipe[0].name: 'math' is already a branch or an earlier step: choose another name",
        "a step has the name of the student, a branch or another step: choose another name",
    ),
    InvalidSpec(
        "candidates that no suite chooses from",
        {"spec.merge": {"candidates": candidates(LINEAR, LINEAR)}, "spec.evaluation.suites.1.role": "Test"},
        "spec.merge.candidates: candidates are chosen by a Validation suite: add one to spec.evaluation.suites",
        "candidates are chosen by a Validation suite: add one to spec.evaluation.suites",
    ),
    InvalidSpec(
        "candidates without an evaluation",
        {"spec.merge": {"candidates": candidates(LINEAR, LINEAR)}, "spec.evaluation": REMOVED},
        "spec.merge.candidates: candidates are chosen by a Validation suite: add one to spec.evaluation.suites",
        "candidates are chosen by a Validation suite: add one to spec.evaluation.suites",
    ),
    InvalidSpec(
        "a gain over no other candidate",
        {"spec.merge.minimumGain": "0.01"},
        "spec.merge.minimumGain: only candidates compete: remove it, or give several candidates",
        "only candidates compete: remove it, or give several candidates",
    ),
)

"""What mergekit's merge methods ask for, so that a recipe is refused before anything is trained.

The facts are those of mergekit 0.1.5; a test of the trainer compares them with the library's own method specs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from branchmerge.api.base import Choice, Rule


class MergeMethod(Choice):
    """Merge methods, by mergekit's names."""

    ARCEE_FUSION = "arcee_fusion"
    LINEAR = "linear"
    SLERP = "slerp"
    NUSLERP = "nuslerp"
    MULTISLERP = "multislerp"
    KARCHER = "karcher"
    TASK_ARITHMETIC = "task_arithmetic"
    TIES = "ties"
    DARE_LINEAR = "dare_linear"
    DARE_TIES = "dare_ties"
    DELLA = "della"
    DELLA_LINEAR = "della_linear"
    BREADCRUMBS = "breadcrumbs"
    BREADCRUMBS_TIES = "breadcrumbs_ties"
    SCE = "sce"
    MODEL_STOCK = "model_stock"
    NEARSWAP = "nearswap"


class BaseUse(Enum):
    """What a method does with a base model."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    IGNORED = "none"


class Kind(Enum):
    """What the value of a parameter is: in words, and as a JSON schema."""

    NUMBER = ("a number", {"type": "number"})
    SHARE = ("a number from 0 to 1", {"type": "number", "minimum": 0, "maximum": 1})
    COUNT = ("a whole number of at least 1", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1})
    SWITCH = ("true or false", {"type": "boolean"})

    def fits(self, value: Any) -> bool:
        """Whether a value, as YAML or JSON has it, is of this kind."""
        if isinstance(value, bool) or self is Kind.SWITCH:
            return isinstance(value, bool) and self is Kind.SWITCH
        if self is Kind.COUNT:
            return isinstance(value, int) and 1 <= value < 2**31
        return isinstance(value, int | float) and (self is Kind.NUMBER or 0 <= value <= 1)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a method takes besides weights."""

    kind: Kind
    description: str


PARAMETERS: Mapping[str, Parameter] = {
    "t": Parameter(Kind.NUMBER, "slerp: way from base (0) to the other model (1); nearswap: distance kept."),
    "density": Parameter(Kind.SHARE, "Share (0-1) of each task vector's elements that is kept. Default 1."),
    "lambda": Parameter(Kind.NUMBER, "Factor of the merged task vector. Default 1."),
    "gamma": Parameter(Kind.SHARE, "Share (0-1) of the largest elements that is dropped. Default 0.01."),
    "epsilon": Parameter(Kind.NUMBER, "Spread of the drop probability around 1 - density. Default 0.15."),
    "select_topk": Parameter(Kind.SHARE, "Share (0-1) of the elements of highest variance that is kept. Default 1."),
    "eps": Parameter(Kind.NUMBER, "Norm below which a vector counts as zero. Default 1e-8."),
    "tol": Parameter(Kind.NUMBER, "Change at which the iteration ends. Default 1e-5."),
    "max_iter": Parameter(Kind.COUNT, "Iterations at most. Default 10."),
    "normalize": Parameter(Kind.SWITCH, "Divide by the sum of the weights. Default: the method's own."),
    "normalize_weights": Parameter(Kind.SWITCH, "Divide by the sum of the weights. Default true."),
    "rescale": Parameter(Kind.SWITCH, "Scale what is kept up to the size of the whole. Default: the method's own."),
    "int8_mask": Parameter(Kind.SWITCH, "Keep masks as int8 to save memory. Default false."),
    "filter_wise": Parameter(Kind.SWITCH, "One interpolation a row instead of one a tensor. Default false."),
    "nuslerp_flatten": Parameter(Kind.SWITCH, "Treat each tensor as one vector. Default true."),
    "nuslerp_row_wise": Parameter(Kind.SWITCH, "Interpolate rows, not columns, where not flattened. Default false."),
}
"""Every parameter of some method, by mergekit's name."""


DEFAULT_EPSILON = 0.15
"""mergekit's default of `epsilon`."""

_SPREAD_MESSAGE = "density +- epsilon must lie between 0 and 1: lower epsilon"


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """What one method takes."""

    base: BaseUse = BaseUse.REQUIRED
    least: int = 1
    """Models beside the base, at least."""
    most: int | None = None
    """Models beside the base, at most; None: any number."""
    weighted: bool = False
    """Whether each model has a weight."""
    parameters: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    """Parameters without a default."""


def _task_vectors(*more: str) -> MethodFacts:
    common = ("density", "lambda", "normalize", "rescale", "int8_mask")
    return MethodFacts(weighted=True, parameters=frozenset({*common, *more}))


FACTS: Mapping[MergeMethod, MethodFacts] = {
    MergeMethod.ARCEE_FUSION: MethodFacts(most=1),
    MergeMethod.LINEAR: MethodFacts(BaseUse.IGNORED, weighted=True, parameters=frozenset({"normalize"})),
    MergeMethod.SLERP: MethodFacts(most=1, parameters=frozenset({"t"}), required=frozenset({"t"})),
    MergeMethod.NUSLERP: MethodFacts(
        BaseUse.OPTIONAL, 2, 2, weighted=True, parameters=frozenset({"nuslerp_flatten", "nuslerp_row_wise"})
    ),
    MergeMethod.MULTISLERP: MethodFacts(
        BaseUse.OPTIONAL, weighted=True, parameters=frozenset({"normalize_weights", "eps"})
    ),
    MergeMethod.KARCHER: MethodFacts(BaseUse.IGNORED, parameters=frozenset({"max_iter", "tol"})),
    MergeMethod.TASK_ARITHMETIC: _task_vectors(),
    MergeMethod.TIES: _task_vectors(),
    MergeMethod.DARE_LINEAR: _task_vectors(),
    MergeMethod.DARE_TIES: _task_vectors(),
    MergeMethod.DELLA: _task_vectors("epsilon"),
    MergeMethod.DELLA_LINEAR: _task_vectors("epsilon"),
    MergeMethod.BREADCRUMBS: _task_vectors("gamma"),
    MergeMethod.BREADCRUMBS_TIES: _task_vectors("gamma"),
    MergeMethod.SCE: MethodFacts(parameters=frozenset({"select_topk", "int8_mask"})),
    MergeMethod.MODEL_STOCK: MethodFacts(least=2, parameters=frozenset({"filter_wise"})),
    MergeMethod.NEARSWAP: MethodFacts(most=1, parameters=frozenset({"t"}), required=frozenset({"t"})),
}


def check_method(
    method: MergeMethod, *, base: bool, models: int, weights: bool, parameters: Mapping[str, float | bool]
) -> None:
    """Raise ValueError where a step gives a method what it does not take, or lacks what it needs.

    `base` and `weights` say whether the step has them, `models` how many it has beside the base.
    """
    facts = FACTS[method]
    if facts.base is BaseUse.REQUIRED and not base:
        raise ValueError(f"method {method} needs a base: add e.g. base: student")
    if facts.base is BaseUse.IGNORED and base:
        raise ValueError(f"method {method} ignores a base: put that model into models")
    if not facts.least <= models <= (facts.most or models):
        raise ValueError(
            f"models: method {method} takes {_count_words(facts.least, facts.most)} beside the base, not {models}: "
            f"{_count_fix(facts.most)}"
        )
    if weights and not facts.weighted:
        raise ValueError(f"weights: method {method} takes no weights: remove them")
    _check_parameters_of(method, parameters)


def _check_parameters_of(method: MergeMethod, parameters: Mapping[str, float | bool]) -> None:
    facts = FACTS[method]
    for name in parameters:
        if name not in facts.parameters:
            known = ", ".join(sorted(facts.parameters)) or "none"
            raise ValueError(f"parameters.{name}: method {method} takes {known}: remove it")
    for name in facts.required:
        if name not in parameters:
            raise ValueError(f"parameters: method {method} needs {name}: add e.g. {name}: 0.5")
    if "epsilon" in facts.parameters:
        density, epsilon = parameters.get("density", 1.0), parameters.get("epsilon", DEFAULT_EPSILON)
        if 0 < density < 1 and not epsilon < density < 1 - epsilon:
            raise ValueError(f"parameters.epsilon: {epsilon} (density {density}): {_SPREAD_MESSAGE}")


def check_parameters(parameters: Any) -> Any:
    """The parameters that are not null. Raises ValueError for one that no method has or that is of the wrong kind."""
    if not isinstance(parameters, dict):
        return parameters
    given = {name: value for name, value in parameters.items() if value is not None}
    for name, value in given.items():
        if name == "weight":
            raise ValueError("weight: one number a model: use weights")
        if name not in PARAMETERS:
            raise ValueError(f"{name}: no merge method has this parameter: use some of {', '.join(PARAMETERS)}")
        kind = PARAMETERS[name].kind
        if not kind.fits(value):
            raise ValueError(f"{name}: {value!r} does not fit: use {kind.value[0]}")
    return given


def _count_words(least: int, most: int | None) -> str:
    return f"exactly {least}" if least == most else f"at least {least}"


def _count_fix(most: int | None) -> str:
    return "name more" if most is None else "name so many, and merge more by further steps"


def parameters_schema() -> dict[str, Any]:
    """The JSON schema of a step's parameters: one optional property each."""
    properties = {
        name: {**parameter.kind.value[1], "description": parameter.description}
        for name, parameter in PARAMETERS.items()
    }
    return {"type": "object", "properties": properties}


def method_rules() -> list[Rule]:
    """The facts as CEL rules of a recipe step: what `check_method` checks."""
    rules = [
        _for_methods(
            "has(self.base)",
            "this method needs a base: add e.g. base: student",
            lambda facts: facts.base is BaseUse.REQUIRED,
        ),
        _for_methods(
            "!has(self.base)",
            "this method ignores a base: put that model into models",
            lambda facts: facts.base is BaseUse.IGNORED,
        ),
        _for_methods(
            "!has(self.weights)", "this method takes no weights: remove them", lambda facts: not facts.weighted
        ),
    ]
    counts = {(facts.least, facts.most): None for facts in FACTS.values() if (facts.least, facts.most) != (1, None)}
    rules += [_count_rule(least, most) for least, most in counts]
    for name in PARAMETERS:
        rules.append(_parameter_rule(name))
        if any(name in facts.required for facts in FACTS.values()):
            rules.append(_required_rule(name))
    rules.append(_spread_rule())
    return rules


def _count_rule(least: int, most: int | None) -> Rule:
    return _for_methods(
        f"self.models.size() {'==' if least == most else '>='} {least}",
        f"this method takes {_count_words(least, most)} beside the base: {_count_fix(most)}",
        lambda facts: (facts.least, facts.most) == (least, most),
        field=".models",
    )


def _parameter_rule(name: str) -> Rule:
    methods = [method for method, facts in FACTS.items() if name in facts.parameters]
    return Rule(
        f"!has(self.parameters) || !has(self.parameters.{name}) || self.method in {_cel_list(methods)}",
        f"{name} is a parameter of {', '.join(methods)} only: remove it",
        ".parameters",
    )


def _required_rule(name: str) -> Rule:
    return _for_methods(
        f"has(self.parameters) && has(self.parameters.{name})",
        f"this method needs a parameter {name}: add e.g. parameters: {{{name}: 0.5}}",
        lambda facts: name in facts.required,
    )


def _spread_rule() -> Rule:
    epsilon = f"self.?parameters.?epsilon.orValue({DEFAULT_EPSILON})"
    return _for_methods(
        "self.?parameters.?density.orValue(1.0) in [0.0, 1.0]"
        f" || ({epsilon} < self.parameters.density && self.parameters.density < 1.0 - {epsilon})",
        _SPREAD_MESSAGE,
        lambda facts: "epsilon" in facts.parameters,
        field=".parameters",
    )


def _for_methods(check: str, message: str, chosen: Callable[[MethodFacts], bool], field: str | None = None) -> Rule:
    methods = [method for method, facts in FACTS.items() if chosen(facts)]
    return Rule(f"!(self.method in {_cel_list(methods)}) || ({check})", message, field)


def _cel_list(methods: Iterable[MergeMethod]) -> str:
    return "[" + ", ".join(f"'{method}'" for method in methods) + "]"

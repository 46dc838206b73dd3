"""What the API says of merge methods is what the installed mergekit says of them."""

from __future__ import annotations

import pytest
from mergekit.merge_methods import registry
from mergekit.merge_methods.base import BasePolicy, MergeMethodSpec

from branchmerge.api.merge_methods import DEFAULT_EPSILON, FACTS, PARAMETERS, BaseUse, Kind, MergeMethod

BASES = {
    BasePolicy.REQUIRED: BaseUse.REQUIRED,
    BasePolicy.OPTIONAL: BaseUse.OPTIONAL,
    BasePolicy.IGNORED: BaseUse.IGNORED,
}
KINDS = {Kind.NUMBER: float, Kind.SHARE: float, Kind.COUNT: int, Kind.SWITCH: bool}
OMITTED = {"passthrough", "ram", "ramplus_tl"}
"""Methods that join no specialists, or are younger than the API."""


def spec_of(method: str) -> MergeMethodSpec:
    return registry.get(method).spec


def bounds_beside_base(spec: MergeMethodSpec) -> tuple[int, int | None]:
    """How many models the method takes beside a base that it needs or may have."""
    contract = spec.contract
    base = 1 if contract.base is BasePolicy.REQUIRED else 0
    least = max(contract.min_inputs - base, contract.min_non_base or 0, 1)
    most = contract.max_non_base if contract.max_inputs is None else contract.max_inputs - base
    return least, most


def test_every_method_is_known_or_left_out_on_purpose() -> None:
    assert {method.spec.name for method in registry.registered_methods()} - set(MergeMethod) == OMITTED


@pytest.mark.parametrize("method", MergeMethod)
def test_facts(method: MergeMethod) -> None:
    spec, facts = spec_of(method), FACTS[method]
    parameters = {parameter.name: parameter for parameter in spec.parameters}
    assert facts.weighted == ("weight" in parameters)
    assert facts.parameters == parameters.keys() - {"weight"}
    assert facts.required == {name for name, one in parameters.items() if one.required and name != "weight"}
    assert facts.base is BASES[spec.contract.base]
    assert (facts.least, facts.most) == bounds_beside_base(spec)


@pytest.mark.parametrize("method", MergeMethod)
def test_kinds_and_stated_defaults_of_parameters(method: MergeMethod) -> None:
    for parameter in spec_of(method).parameters:
        if parameter.name == "weight":
            continue
        told = PARAMETERS[parameter.name]
        assert KINDS[told.kind] is parameter.value_type
        _, separator, default = told.description.partition("Default ")
        if separator:
            assert parameter.validate(default.removesuffix(".")) == parameter.default


@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_the_default_spread(method: str) -> None:
    defaults = {parameter.name: parameter.default for parameter in spec_of(method).parameters}
    assert defaults["epsilon"] == DEFAULT_EPSILON

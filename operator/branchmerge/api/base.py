"""Base classes and scalar types of the API.

Python uses snake_case, YAML and JSON use camelCase; both names are accepted in Python.
Every list, map and string that a CEL rule may walk has a bound, because the API server refuses rules of unbounded cost.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


class SpecModel(BaseModel):
    """A part of what the user writes: unknown fields are refused, values are immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
    )


class RecordModel(BaseModel):
    """A part of what one process writes and another reads: unknown fields are ignored, so that versions may differ."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
    )

    def to_json(self) -> str:
        """One line of JSON without the fields that are unset."""
        return self.model_dump_json(exclude_none=True)


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """`json_schema_extra` with CEL rules for the API server, as (rule, message) pairs.

    A model that checks something in a pydantic validator declares the same check here where CEL can express it, so that
    `kubectl apply` refuses what `branchmerge validate` refuses.
    """
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(*keys: str) -> dict[str, Any]:
    """`json_schema_extra` of a list whose entries are merged by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=DNS_LABEL)]
"""A DNS label (RFC 1123) that leaves room for the names of child objects."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Location = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A path or URI."""

DecimalText = Annotated[str, StringConstraints(max_length=32, pattern=DECIMAL)]
"""A decimal number as text: Kubernetes' API conventions ask for no floats where a value is compared."""

QuantityText = Annotated[str, StringConstraints(max_length=32, pattern=QUANTITY)]
"""A Kubernetes quantity such as `500m` or `16Gi`."""

PositiveInt = Annotated[int, Field(ge=1, le=2_147_483_647)]
NonNegativeInt = Annotated[int, Field(ge=0, le=2_147_483_647)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

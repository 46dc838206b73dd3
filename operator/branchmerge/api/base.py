"""Base classes and scalar types of the API.

Python uses snake_case, YAML and JSON use camelCase; both names are accepted in Python.
Every list, map and string that a CEL rule may walk has a bound, because the API server refuses rules of unbounded cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema


class _ApiModel(BaseModel):
    """Both names of a field are read, the camelCase one is written."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        frozen=True,
    )


class SpecModel(_ApiModel):
    """A part of what the user writes: unknown fields are refused, values are immutable.

    What a file means here is what it means to an API server: numbers in quotes are no numbers (strict), and a field
    that is set to null is not set.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {name for field, info in cls.model_fields.items() for name in (field, info.alias)}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class RecordModel(_ApiModel):
    """A part of what one process writes and another reads: unknown fields are ignored, so that versions may differ."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """One line of JSON without the fields that are unset."""
        return self.model_dump_json(exclude_none=True)


class Choice(StrEnum):
    """One of several words of a spec. Its text is as good as its member, also where everything else is strict."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return {**handler(source), "strict": False}


class Rule(NamedTuple):
    """A CEL rule of the API server, and what it says of an object that breaks the rule."""

    rule: str
    message: str
    """What is wrong and the fix; the API server puts the object's path before it."""
    field: str | None = None
    """Path of the field that is at fault, below the object, such as `.merge.recipe`. Default: the object itself."""


def cel(*rules: Rule) -> dict[str, Any]:
    """`json_schema_extra` with CEL rules for the API server.

    A model that checks something in a pydantic validator declares the same check here where CEL can express it, so that
    `kubectl apply` refuses what `branchmerge validate` refuses.
    """
    return {"x-kubernetes-validations": [_validation(rule) for rule in rules]}


def _validation(rule: Rule) -> dict[str, str]:
    validation = {"rule": rule.rule, "message": rule.message}
    return validation if rule.field is None else {**validation, "fieldPath": rule.field}


def list_map(*keys: str) -> dict[str, Any]:
    """`json_schema_extra` of a list whose entries are merged by `keys`, and are unique by them."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""`json_schema_extra` of a list of scalars without order or repetition."""


def refuse_duplicates(names: Iterable[str], fix: str) -> None:
    """Raise ValueError, with `fix` as its last part, where a name is there more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{str(name)!r} is there {count} times: {fix}")


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
ABSOLUTE_PATH = r"^(/\.?[^/:.][^/:]*)+$"
RELATIVE_PATH = r"^\.?[^/:.][^/:]*(/\.?[^/:.][^/:]*)*$"
JOB_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
AMOUNT = r"^[0-9]+(\.[0-9]+)?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
CURRENCY = r"^[A-Z]{3}$"
LANGUAGE = r"^[a-z]{2}$"
HTTP_URL = r"^https?://[^/?#@]+([/?#].*)?$"

PATTERN_HINTS = {
    DNS_LABEL: "lower-case letters, digits and dashes, with a letter or digit at both ends",
    DNS_SUBDOMAIN: "lower-case letters, digits, dashes and dots, with a letter or digit at both ends",
    LABEL_VALUE: "letters, digits, dashes, dots and underscores, with a letter or digit at both ends",
    ENV_NAME: "letters, digits and underscores, no digit first",
    ABSOLUTE_PATH: "an absolute path such as /data, without . and .. and a slash at its end",
    RELATIVE_PATH: "a relative path such as models/student, without . and .. and a slash at its end",
    JOB_NAME: "lower-case letters, digits and dashes, a letter first and a letter or digit last",
    DECIMAL: "a decimal number in quotes, such as '0.02'",
    AMOUNT: "a decimal number in quotes, such as '2000'",
    QUANTITY: "a quantity such as 8, 500m or 16Gi",
    CURRENCY: "three capital letters, such as USD",
    LANGUAGE: "two lower-case letters, such as en",
    HTTP_URL: "a URL that begins with https:// or http:// and a host: keys and passwords belong in a Secret",
}
"""What a pattern asks for, in words."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=DNS_LABEL)]
"""A DNS label (RFC 1123) that leaves room for the names of child objects."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Location = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A path or URI."""

DecimalText = Annotated[str, StringConstraints(max_length=32, pattern=DECIMAL)]
"""A decimal number as text: Kubernetes' API conventions ask for no floats where a value is compared."""

AmountText = Annotated[str, StringConstraints(max_length=32, pattern=AMOUNT)]
"""A decimal number of at least 0, as text."""

_SCORE = Rule("double(self) >= 0.0 && double(self) <= 1.0", "a score is a share: use a number from 0 to 1")
_GAIN = Rule(
    "double(self) >= -1.0 && double(self) <= 1.0", "a gain is a difference of shares: use a number from -1 to 1"
)


def _score(text: str) -> str:
    if not 0 <= float(text) <= 1:
        raise ValueError(f"{text!r}: {_SCORE.message}")
    return text


def _gain(text: str) -> str:
    if not -1 <= float(text) <= 1:
        raise ValueError(f"{text!r}: {_GAIN.message}")
    return text


ScoreText = Annotated[DecimalText, AfterValidator(_score), Field(json_schema_extra=cel(_SCORE))]
"""A score from 0 to 1, as text."""

GainText = Annotated[DecimalText, AfterValidator(_gain), Field(json_schema_extra=cel(_GAIN))]
"""A difference of two scores, as text."""


def _whole_number_as_text(value: Any) -> Any:
    """A number as Kubernetes takes one for a quantity: an int64, which a larger one must leave to quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value < 2**63 else value


QuantityText = Annotated[
    str,
    StringConstraints(max_length=32, pattern=QUANTITY),
    BeforeValidator(_whole_number_as_text),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "pattern": QUANTITY,
            "maxLength": 32,
        }
    ),
]
"""A Kubernetes quantity such as `4`, `500m` or `16Gi`; as everywhere in Kubernetes, a whole number needs no quotes."""

PositiveInt = Annotated[int, Field(ge=1, le=2_147_483_647)]
NonNegativeInt = Annotated[int, Field(ge=0, le=2_147_483_647)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Mass = Annotated[float, Field(gt=0.0, le=1.0)]
"""A share of probability that leaves something to draw from."""

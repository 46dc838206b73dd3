"""Which answers are right, and which of the right ones are kept."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from branchmerge.api.base import Choice, Fraction, PositiveInt, Rule, ShortText, SpecModel, cel
from branchmerge.api.endpoint import Endpoint


class Judge(Endpoint):
    """A model that says whether an answer is right."""

    rubric: Annotated[str, Field(min_length=1, max_length=16384)] = Field(
        description="What makes an answer right, in words for the judge."
    )
    max_tokens: PositiveInt = Field(4096, description="Longest verdict, reasoning included, in tokens. Default 4096.")


class VerifyMethod(Choice):
    """How it is found out whether an answer is right."""

    NONE = "none"
    MATH = "math"
    CODE = "code"
    CHOICE = "choice"
    EXACT = "exact"
    REGEX = "regex"
    JUDGE = "judge"


_PATTERN = Rule(
    "has(self.pattern) == (self.method == 'regex')", "method regex needs a pattern, and no other method has one"
)
_JUDGE = Rule("has(self.judge) == (self.method == 'judge')", "method judge needs a judge, and no other method has one")
_CODE_RUNS = Rule(
    "!self.?allowUnsandboxed.orValue(false) || self.method == 'code'",
    "only method code runs anything: remove it",
    ".allowUnsandboxed",
)
_RATES_ARE_JUDGED = Rule(
    "self.method != 'none' || !(has(self.minPassRate) || has(self.maxPassRate))",
    "pass rates count right answers, but method none judges none: choose a method",
)
_RATES_IN_ORDER = Rule(
    "!has(self.minPassRate) || !has(self.maxPassRate) || self.minPassRate <= self.maxPassRate",
    "minPassRate is above maxPassRate: no prompt would be left",
)


class Verify(SpecModel):
    """Keeps only rows whose answer is right. What is compared is the answer's final text, after the last `</think>`."""

    model_config = ConfigDict(json_schema_extra=cel(_PATTERN, _JUDGE, _CODE_RUNS, _RATES_ARE_JUDGED, _RATES_IN_ORDER))

    method: VerifyMethod = Field(
        description="`math` (equivalence by math-verify), `code` (its tests run in a sandbox), `choice` (letter), "
        "`exact`, `regex` (a pattern), `judge` (another model), or `none`."
    )
    reference: ShortText = Field("answer", description="Column with the reference answer. Default `answer`.")
    choices: ShortText = Field("choices", description="Column with the choices, of method `choice`. Default `choices`.")
    tests: ShortText = Field("tests", description="Column with the tests, of method `code`. Default `tests`.")
    pattern: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="Regular expression (Python) that the whole final text must match, of method `regex`; where it has "
        "a group, what the group holds must equal the reference. Default: none.",
    )
    judge: Judge | None = Field(None, description="Who judges, of method `judge`. Default: nobody.")
    timeout_seconds: PositiveInt = Field(30, description="Longest run of one row's tests, in seconds. Default 30.")
    min_pass_rate: Fraction | None = Field(
        None,
        description="Share (0-1) of a prompt's answers that must be right at least, or all of them are dropped: too "
        "hard to trust. Default: no limit.",
    )
    max_pass_rate: Fraction | None = Field(
        None,
        description="Share (0-1) of a prompt's answers that may be right at most, or all of them are dropped: too easy "
        "to teach anything. Default: no limit.",
    )
    allow_unsandboxed: bool = Field(
        False,
        description="Run code, of method `code`, also where the kernel cannot isolate it from files, network and other "
        "processes. Default false.",
    )

    @field_validator("pattern")
    @classmethod
    def _is_a_regular_expression(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if groups > 1:
            raise ValueError(f"{pattern!r} has {groups} groups: use one at most, and (?:…) for the others")
        return pattern

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        if (self.pattern is not None) is not (self.method is VerifyMethod.REGEX):
            raise ValueError(_PATTERN.message)
        if (self.judge is not None) is not (self.method is VerifyMethod.JUDGE):
            raise ValueError(_JUDGE.message)
        if self.allow_unsandboxed and self.method is not VerifyMethod.CODE:
            raise ValueError(f"allowUnsandboxed: {_CODE_RUNS.message}")
        return self

    @model_validator(mode="after")
    def _pass_rates_leave_something(self) -> Self:
        if self.method is VerifyMethod.NONE and (self.min_pass_rate, self.max_pass_rate) != (None, None):
            raise ValueError(_RATES_ARE_JUDGED.message)
        if (self.min_pass_rate or 0.0) > (1.0 if self.max_pass_rate is None else self.max_pass_rate):
            raise ValueError(_RATES_IN_ORDER.message)
        return self

    @property
    def needed_columns(self) -> tuple[str, ...]:
        """Columns that a row must have to be judged."""
        match self.method:
            case VerifyMethod.MATH | VerifyMethod.CHOICE | VerifyMethod.EXACT:
                return (self.reference,)
            case VerifyMethod.CODE:
                return (self.tests,)
            case VerifyMethod.REGEX if re.compile(self.pattern or "").groups:
                return (self.reference,)
            case _:
                return ()


class SelectStrategy(Choice):
    """Which of a prompt's answers are kept."""

    ALL = "All"
    FIRST_CORRECT = "FirstCorrect"
    SHORTEST_CORRECT = "ShortestCorrect"


class Select(SpecModel):
    """Chooses among several answers to one prompt."""

    strategy: SelectStrategy = Field(
        SelectStrategy.ALL,
        description="Which answers are kept: `All` (of those that verify left), or of the correct ones the "
        "`FirstCorrect` or `ShortestCorrect`. Default `All`.",
    )
    max_per_prompt: PositiveInt = Field(1, description="Answers kept for one prompt. Default 1.")

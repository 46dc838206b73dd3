"""How specialists become one model."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from branchmerge.api.base import Choice, GainText, Name, NonNegativeInt, Rule, SpecModel, cel, refuse_duplicates
from branchmerge.api.compute import OneNode
from branchmerge.api.merge_methods import MergeMethod, check_method, check_parameters, method_rules, parameters_schema

STUDENT = "student"
"""The name by which a recipe refers to the student, the specialists' common ancestor."""


class MergeType(Choice):
    """Number formats of merge arithmetic and output."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


_WEIGHTS = Rule(
    "!has(self.weights) || self.weights.size() == self.models.size()",
    "give one weight for each of models",
    ".weights",
)
_REPEATED = Rule(
    "self.models.all(m, self.models.exists_one(n, n == m))", "a model is there twice: name each model once", ".models"
)
_BASE_AGAIN = Rule(
    "!has(self.base) || !(self.base in self.models)",
    "the base is among models: remove it there",
    ".models",
)


class MergeStep(SpecModel):
    """One merge. It names branches, the output of earlier steps, or `student`."""

    model_config = ConfigDict(json_schema_extra=cel(_REPEATED, _BASE_AGAIN, _WEIGHTS, *method_rules()))

    name: Name = Field(description="Name by which later steps refer to this one's output.")
    method: MergeMethod = Field(description="Merge method, by mergekit's name.")
    models: Annotated[list[Name], Field(min_length=1, max_length=32)] = Field(
        description="What is merged: branches, earlier steps, or `student`. Without the base."
    )
    base: Name | None = Field(
        None, description="Model that the others are merged onto; for task-vector methods their common ancestor."
    )
    weights: Annotated[list[float], Field(min_length=1, max_length=32)] | None = Field(
        None, description="One weight for each of `models`. Default: 1 each."
    )
    parameters: Annotated[
        dict[str, float | bool], BeforeValidator(check_parameters), WithJsonSchema(parameters_schema())
    ] = Field(
        default_factory=dict,
        description="Further parameters of the method, by mergekit's names. Default: mergekit's.",
    )

    @field_validator("models")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        refuse_duplicates(names, "name each model once")
        return names

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.base in self.models:
            raise ValueError(f"models: {self.base!r}: {_BASE_AGAIN.message}")
        if self.weights is not None and len(self.weights) != len(self.models):
            raise ValueError(f"weights: {len(self.weights)} for {len(self.models)} models: {_WEIGHTS.message}")
        return self

    @model_validator(mode="after")
    def _what_the_method_takes(self) -> Self:
        check_method(
            self.method,
            base=self.base is not None,
            models=len(self.models),
            weights=self.weights is not None,
            parameters=self.parameters,
        )
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all models that the step reads, the base last."""
        return (*self.models, *(() if self.base is None else (self.base,)))


class Candidate(SpecModel):
    """One of several recipes; the best on the validation suites goes on."""

    name: Name = Field(description="Name of the candidate.")
    recipe: Annotated[list[MergeStep], Field(min_length=1, max_length=16)] = Field(
        description="Steps in order; the last one's output is the candidate."
    )


_OWN_NAMES = Rule(
    "!has(self.candidates) || self.candidates.all(c, self.candidates.exists_one(d, d.name == c.name))",
    "give each candidate a name of its own",
    ".candidates",
)
_ONE_FORM = Rule("has(self.recipe) != has(self.candidates)", "set exactly one of recipe and candidates")
_GAIN_OF_CANDIDATES = Rule(
    "!has(self.minimumGain) || has(self.candidates)",
    "only candidates compete: remove it, or give several candidates",
    ".minimumGain",
)


class Merge(SpecModel):
    """How specialists become one model: one recipe, or several candidates."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_FORM, _GAIN_OF_CANDIDATES, _OWN_NAMES))

    recipe: Annotated[list[MergeStep], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Steps in order; the last one's output is the merged model."
    )
    candidates: Annotated[list[Candidate], Field(min_length=2, max_length=16)] | None = Field(
        None,
        description="Several recipes, the first one the baseline; the best on the Validation suites goes on.",
    )
    minimum_gain: GainText | None = Field(
        None, description="Gain over the first candidate that another one needs to win (score, 0-1). Default 0."
    )
    dtype: MergeType = Field(
        MergeType.BFLOAT16, description="Arithmetic of the merge; arcee_fusion depends on it. Default `bfloat16`."
    )
    out_dtype: MergeType = Field(MergeType.BFLOAT16, description="Number format of the output. Default `bfloat16`.")
    shard_bytes: Annotated[int, Field(ge=1, le=10**12)] = Field(
        2_000_000_000, description="Largest file of the output's weights, in bytes. Default 2000000000."
    )
    seed: NonNegativeInt = Field(42, description="Seed of methods that draw at random. Default 42.")
    resources: OneNode | None = Field(None, description="Pool and size of merge stages. Default: no pool, no GPU.")

    @field_validator("candidates")
    @classmethod
    def _names_of_their_own(cls, candidates: list[Candidate] | None) -> list[Candidate] | None:
        refuse_duplicates((one.name for one in candidates or []), _OWN_NAMES.message)
        return candidates

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.recipe is None) == (self.candidates is None):
            raise ValueError(_ONE_FORM.message)
        if self.minimum_gain is not None and self.candidates is None:
            raise ValueError(f"minimumGain: {_GAIN_OF_CANDIDATES.message}")
        return self

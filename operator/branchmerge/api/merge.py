"""How specialists become one model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from branchmerge.api.base import DecimalText, Name, NonNegativeInt, PositiveInt, SpecModel, cel
from branchmerge.api.compute import Resources

STUDENT = "student"
"""The name by which a recipe refers to the student, the specialists' common ancestor."""


class MergeMethod(StrEnum):
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


NEEDS_BASE = frozenset(MergeMethod) - {
    MergeMethod.LINEAR,
    MergeMethod.MULTISLERP,
    MergeMethod.KARCHER,
    MergeMethod.NUSLERP,
}
"""Methods that mergekit refuses without a base."""

ONE_MODEL_BESIDE_BASE = frozenset({MergeMethod.ARCEE_FUSION, MergeMethod.SLERP, MergeMethod.NEARSWAP})
"""Methods that join exactly two models: the base and one other."""


class MergeType(StrEnum):
    """Number formats of merge arithmetic and output."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


_NEEDS_BASE_CEL = "[" + ", ".join(f"'{method}'" for method in sorted(NEEDS_BASE)) + "]"
_PAIR_CEL = "[" + ", ".join(f"'{method}'" for method in sorted(ONE_MODEL_BESIDE_BASE)) + "]"


class MergeStep(SpecModel):
    """One merge. It names branches, the output of earlier steps, or `student`."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (f"!(self.method in {_NEEDS_BASE_CEL}) || has(self.base)", "merge step: this method needs a base"),
            (
                f"!(self.method in {_PAIR_CEL}) || self.models.size() == 1",
                "merge step: this method joins exactly two models: base and one in models",
            ),
            (
                "!has(self.weights) || self.weights.size() == self.models.size()",
                "merge step: weights needs one number for each of models",
            ),
        )
    )

    name: Name = Field(description="Name by which later steps refer to this one's output.")
    method: MergeMethod = Field(description="Merge method, by mergekit's name.")
    models: Annotated[list[Name], Field(min_length=1, max_length=32)] = Field(
        description="What is merged: branches, earlier steps, or `student`. Without the base."
    )
    base: Name | None = Field(
        None, description="Model that the others are merged onto; for task-vector methods their common ancestor."
    )
    weights: Annotated[list[float], Field(min_length=1, max_length=32)] | None = Field(
        None, description="One weight for each of `models`. Default: 1 each, as mergekit."
    )
    parameters: Annotated[dict[str, float | bool], Field(max_length=16)] = Field(
        default_factory=dict,
        description="Further parameters of the method, by mergekit's names (`t`, `density`, `lambda`, `normalize`…). "
        "Numbers or booleans.",
    )

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if self.method in NEEDS_BASE and self.base is None:
            raise ValueError(f"method {self.method} needs a base: add e.g. base: {STUDENT}")
        if self.method in ONE_MODEL_BESIDE_BASE and len(self.models) != 1:
            raise ValueError(
                f"method {self.method} joins exactly two models: base and one in models (here {len(self.models)}); "
                "chain more by further steps"
            )
        if self.weights is not None and len(self.weights) != len(self.models):
            raise ValueError(f"weights has {len(self.weights)} numbers for {len(self.models)} models: give one each")
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


class Merge(SpecModel):
    """How specialists become one model: one recipe, or several candidates."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.recipe) != has(self.candidates)", "merge: set exactly one of recipe and candidates"),
        )
    )

    recipe: Annotated[list[MergeStep], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Steps in order; the last one's output is the merged model."
    )
    candidates: Annotated[list[Candidate], Field(min_length=2, max_length=16)] | None = Field(
        None, description="Several recipes; the best on the Validation suites goes on."
    )
    minimum_gain: DecimalText | None = Field(
        None, description="Gain over the first candidate that another one needs to win (score, 0-1). Default 0."
    )
    dtype: MergeType = Field(
        MergeType.BFLOAT16, description="Arithmetic of the merge; arcee_fusion depends on it. Default `bfloat16`."
    )
    out_dtype: MergeType = Field(MergeType.BFLOAT16, description="Number format of the output. Default `bfloat16`.")
    shard_bytes: PositiveInt = Field(
        2_000_000_000, description="Largest file of the output's weights, in bytes. Default 2000000000."
    )
    seed: NonNegativeInt = Field(42, description="Seed of methods that draw at random. Default 42.")
    resources: Resources | None = Field(None, description="Pool and size of merge stages. Default: no pool, no GPU.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.recipe is None) == (self.candidates is None):
            raise ValueError("set exactly one of recipe and candidates")
        return self


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
            if name in steps[index:]:
                raise ValueError(f"{place}: {name!r} is made by a later step: move that step up")
            raise ValueError(f"{place}: no model {name!r}: use one of {', '.join(sorted(known))}")
        known.add(step.name)

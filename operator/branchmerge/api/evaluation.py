"""What is measured: suites, the models that face them, and the gates that a result must pass."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from branchmerge.api.base import (
    DecimalText,
    Fraction,
    Location,
    Name,
    NonNegativeInt,
    PositiveInt,
    SpecModel,
    cel,
)
from branchmerge.api.compute import Resources


class Engine(StrEnum):
    """What generates the answers."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"


class EvaluatedModels(StrEnum):
    """Groups of models that face the suites."""

    STUDENT = "student"
    SPECIALISTS = "specialists"
    MERGED = "merged"


class SuiteRole(StrEnum):
    """What a suite may be used for: candidates are chosen on Validation, gates and the verdict use Test only."""

    VALIDATION = "Validation"
    TEST = "Test"


class BuiltinSuite(StrEnum):
    """Suites that ship with the trainer."""

    AIME24 = "aime24"
    GPQA_DIAMOND = "gpqa_diamond"
    LIVECODEBENCH = "livecodebench"
    MATH500 = "math500"


class ScoreMethod(StrEnum):
    """How an answer is compared with the reference."""

    EXACT = "exact"
    CHOICE = "choice"
    MATH = "math"
    CODE = "code"


class Generation(SpecModel):
    """How an answer is drawn."""

    temperature: float = Field(0.0, ge=0.0, le=2.0, description="Softmax temperature; 0 is greedy. Default 0.")
    top_p: Fraction = Field(1.0, description="Nucleus sampling mass (0-1). Default 1.")
    max_tokens: PositiveInt = Field(1024, description="Longest answer, in tokens. Default 1024.")
    batch_size: PositiveInt = Field(
        16, description="Questions generated together; a batch is the unit of seed and of resume. Default 16."
    )


class Suite(SpecModel):
    """One set of questions."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.builtin) != has(self.path)", "suite: set exactly one of builtin and path"),
            ("has(self.builtin) || has(self.method)", "suite: a path needs a method (exact, choice, math or code)"),
        )
    )

    name: Name = Field(description="Name of the suite.")
    builtin: BuiltinSuite | None = Field(None, description="A suite that ships with the trainer.")
    path: Location | None = Field(
        None,
        description="JSONL with one `{id, prompt or messages, answer, choices?}` a line: workspace path or fsspec URI.",
    )
    method: ScoreMethod | None = Field(
        None, description="How answers are compared: `exact`, `choice`, `math` or `code`. Needed with a path."
    )
    role: SuiteRole = Field(
        SuiteRole.TEST, description="`Test` (gates and verdict) or `Validation` (choice of a candidate). Default Test."
    )
    samples: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Answers drawn a question. Default 1.")
    generation: Generation = Field(
        default_factory=Generation, description="How an answer is drawn. A builtin suite brings its own defaults."
    )
    system_prompt: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        None, description="System message put before each question. Default: none."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.builtin is None) == (self.path is None):
            raise ValueError("set exactly one of builtin and path")
        if self.path is not None and self.method is None:
            raise ValueError("a path needs a method: exact, choice, math or code")
        if self.path is not None and self.samples > 1 and self.generation.temperature == 0:
            raise ValueError(f"samples is {self.samples} but temperature is 0, so all would be equal: set one of them")
        return self


class Bound(StrEnum):
    """Which number of an interval a gate looks at."""

    POINT_ESTIMATE = "PointEstimate"
    LOWER_BOUND = "LowerBound"


class Gate(SpecModel):
    """What the merged model must reach on a Test suite."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.minScore) || has(self.minGain)", "gate: set minScore, minGain or both"),
        )
    )

    suite: Name = Field(description="Suite with the role Test.")
    min_score: DecimalText | None = Field(None, description="Least score of the merged model (0-1).")
    min_gain: DecimalText | None = Field(None, description="Least gain over the student (difference of scores).")
    bound: Bound = Field(
        Bound.POINT_ESTIMATE,
        description="`PointEstimate`, or `LowerBound` of the 95% interval. Default `PointEstimate`.",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.min_score is None and self.min_gain is None:
            raise ValueError("set minScore, minGain or both")
        return self


class Evaluation(SpecModel):
    """What is measured, on which models."""

    engine: Engine = Field(Engine.TRANSFORMERS, description="What generates the answers. Default `transformers`.")
    models: Annotated[list[EvaluatedModels], Field(min_length=1, max_length=3)] = Field(
        default=list(EvaluatedModels), description="Models that face the suites. Default: all."
    )
    suites: Annotated[list[Suite], Field(min_length=1, max_length=32)] = Field(description="Sets of questions.")
    gates: Annotated[list[Gate], Field(max_length=32)] = Field(
        default_factory=list, description="What the merged model must reach. Default: nothing."
    )
    seed: NonNegativeInt = Field(42, description="Seed from which every question's own is derived. Default 42.")
    resources: Resources | None = Field(
        None, description="Pool and size of evaluation stages. Default: no pool, no GPU."
    )

    @model_validator(mode="after")
    def _gates_name_test_suites(self) -> Self:
        roles = {suite.name: suite.role for suite in self.suites}
        for index, gate in enumerate(self.gates):
            if gate.suite not in roles:
                known = ", ".join(sorted(roles))
                raise ValueError(f"gates[{index}].suite: no suite {gate.suite!r}: use one of {known}")
            if roles[gate.suite] is not SuiteRole.TEST:
                raise ValueError(f"gates[{index}].suite: {gate.suite!r} has the role Validation: gates use Test suites")
            if gate.min_gain is not None and EvaluatedModels.STUDENT not in self.models:
                raise ValueError(f"gates[{index}].minGain: compares with the student: add student to models")
        if self.gates and EvaluatedModels.MERGED not in self.models:
            raise ValueError("gates: judge the merged model: add merged to models")
        return self

"""What is measured: suites, the models that face them, and the gates that a result must pass."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from branchmerge.api.base import (
    LIST_SET,
    Choice,
    GainText,
    Location,
    Mass,
    Name,
    NonNegativeInt,
    PositiveInt,
    Rule,
    ScoreText,
    SpecModel,
    cel,
    list_map,
    refuse_duplicates,
)
from branchmerge.api.compute import OneNode


class Engine(Choice):
    """What generates the answers."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"


class EvaluatedModels(Choice):
    """Groups of models that face the suites."""

    STUDENT = "student"
    SPECIALISTS = "specialists"
    MERGED = "merged"


class SuiteRole(Choice):
    """What a suite may be used for: candidates are chosen on Validation, gates and the verdict use Test only."""

    VALIDATION = "Validation"
    TEST = "Test"


class BuiltinSuite(Choice):
    """Suites that ship with the trainer."""

    AIME24 = "aime24"
    GPQA_DIAMOND = "gpqa_diamond"
    LIVECODEBENCH = "livecodebench"
    MATH500 = "math500"


class ScoreMethod(Choice):
    """How an answer is compared with the reference."""

    EXACT = "exact"
    CHOICE = "choice"
    MATH = "math"
    CODE = "code"


class Generation(SpecModel):
    """How an answer is drawn."""

    temperature: float = Field(0.0, ge=0.0, le=2.0, description="Softmax temperature; 0 is greedy. Default 0.")
    top_p: Mass = Field(1.0, description="Nucleus sampling mass (0-1, not 0). Default 1.")
    max_tokens: PositiveInt = Field(1024, description="Longest answer, in tokens. Default 1024.")
    batch_size: PositiveInt = Field(
        16, description="Questions generated together; a batch is the unit of seed and of resume. Default 16."
    )


_ONE_PLACE = Rule("has(self.builtin) != has(self.path)", "set exactly one of builtin and path")
_METHOD = Rule("!has(self.path) || has(self.method)", "a path needs a method: add exact, choice, math or code")
_OWN_METHOD = Rule("!has(self.builtin) || !has(self.method)", "a builtin suite has its own: remove it", ".method")
_CODE_RUNS = Rule(
    "!self.?allowUnsandboxed.orValue(false) || self.?method.orValue('') == 'code'"
    " || self.?builtin.orValue('') == 'livecodebench'",
    "only suites of code run anything: remove it",
    ".allowUnsandboxed",
)
_SAMPLES_DIFFER = Rule(
    "!has(self.path) || self.?samples.orValue(1) == 1 || self.?generation.?temperature.orValue(0.0) > 0.0",
    "several answers at temperature 0 are all equal: set generation.temperature, or remove samples",
    ".samples",
)


class Suite(SpecModel):
    """One set of questions."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_PLACE, _METHOD, _OWN_METHOD, _CODE_RUNS, _SAMPLES_DIFFER))

    name: Name = Field(description="Name of the suite.")
    builtin: BuiltinSuite | None = Field(None, description="A suite that ships with the trainer.")
    path: Location | None = Field(
        None,
        description="JSONL with one `{id, prompt or messages, answer, choices?}` a line, of method `code` with `tests` "
        "for `answer`: workspace path or fsspec URI.",
    )
    method: ScoreMethod | None = Field(
        None, description="How answers are compared: `exact`, `choice`, `math` or `code`. Needed with a path."
    )
    role: SuiteRole = Field(
        SuiteRole.TEST,
        description="`Test` (gates and verdict) or `Validation` (choice of a candidate). Default `Test`.",
    )
    samples: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Answers drawn a question. Default 1.")
    generation: Generation = Field(
        default_factory=Generation, description="How an answer is drawn. A builtin suite brings defaults of its own."
    )
    system_prompt: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        None, description="System message put before each question. Default: none."
    )
    allow_unsandboxed: bool = Field(
        False,
        description="Run code, of a suite of code, also where the kernel cannot isolate it from files, network and "
        "other processes. Default false.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.builtin is None) == (self.path is None):
            raise ValueError(_ONE_PLACE.message)
        if self.path is not None and self.method is None:
            raise ValueError(_METHOD.message)
        if self.builtin is not None and self.method is not None:
            raise ValueError(f"method: {_OWN_METHOD.message}")
        if self.path is not None and self.samples > 1 and self.generation.temperature == 0:
            raise ValueError(f"samples: {self.samples}, but {_SAMPLES_DIFFER.message}")
        return self

    @model_validator(mode="after")
    def _only_code_runs(self) -> Self:
        if self.allow_unsandboxed and not self.runs_code:
            raise ValueError(f"allowUnsandboxed: {_CODE_RUNS.message}")
        return self

    @property
    def runs_code(self) -> bool:
        """Whether answers are programs, which are run."""
        return self.method is ScoreMethod.CODE or self.builtin is BuiltinSuite.LIVECODEBENCH


class Bound(Choice):
    """Which number of an interval a gate looks at."""

    POINT_ESTIMATE = "PointEstimate"
    LOWER_BOUND = "LowerBound"


_ASKS_SOMETHING = Rule("has(self.minScore) || has(self.minGain)", "set minScore, minGain or both")


class Gate(SpecModel):
    """What the merged model must reach on a Test suite."""

    model_config = ConfigDict(json_schema_extra=cel(_ASKS_SOMETHING))

    suite: Name = Field(description="Suite with the role Test.")
    min_score: ScoreText | None = Field(None, description="Least score of the merged model (0-1).")
    min_gain: GainText | None = Field(None, description="Least gain over the student (difference of scores).")
    bound: Bound = Field(
        Bound.POINT_ESTIMATE,
        description="`PointEstimate`, or `LowerBound` of the 95% interval. Default `PointEstimate`.",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.min_score is None and self.min_gain is None:
            raise ValueError(_ASKS_SOMETHING.message)
        return self


_KNOWN_SUITE = Rule(
    "!has(self.gates) || self.gates.all(g, self.suites.exists(s, s.name == g.suite))",
    "a gate names no suite of this evaluation: use the name of one of suites",
    ".gates",
)
_TEST_SUITE = Rule(
    "!has(self.gates) || "
    "!self.gates.exists(g, self.suites.exists(s, s.name == g.suite && s.?role.orValue('Test') == 'Validation'))",
    "a gate names a suite with the role Validation: gates use Test suites",
    ".gates",
)
_MERGED_IS_MEASURED = Rule(
    "self.?gates.orValue([]).size() == 0 || !has(self.models) || 'merged' in self.models",
    "they judge the merged model: add merged to models",
    ".gates",
)
_STUDENT_IS_MEASURED = Rule(
    "!has(self.gates) || !has(self.models) || 'student' in self.models || !self.gates.exists(g, has(g.minGain))",
    "minGain compares with the student: add student to models",
    ".gates",
)


class Evaluation(SpecModel):
    """What is measured, on which models."""

    model_config = ConfigDict(
        json_schema_extra=cel(_KNOWN_SUITE, _TEST_SUITE, _MERGED_IS_MEASURED, _STUDENT_IS_MEASURED)
    )

    engine: Engine = Field(Engine.TRANSFORMERS, description="What generates the answers. Default `transformers`.")
    models: Annotated[list[EvaluatedModels], Field(min_length=1, max_length=3)] = Field(
        default=list(EvaluatedModels),
        description="Models that face the suites: `student`, `specialists`, `merged`. Default: all.",
        json_schema_extra=LIST_SET,
    )
    suites: Annotated[list[Suite], Field(min_length=1, max_length=32)] = Field(
        description="Sets of questions.", json_schema_extra=list_map("name")
    )
    gates: Annotated[list[Gate], Field(max_length=32)] = Field(
        default_factory=list, description="What the merged model must reach. Default: nothing."
    )
    seed: NonNegativeInt = Field(42, description="Seed from which every question's own is derived. Default 42.")
    resources: OneNode | None = Field(None, description="Pool and size of evaluation stages. Default: no pool, no GPU.")

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: list[EvaluatedModels]) -> list[EvaluatedModels]:
        refuse_duplicates(models, "name each once")
        return models

    @field_validator("suites")
    @classmethod
    def _names_of_their_own(cls, suites: list[Suite]) -> list[Suite]:
        refuse_duplicates((suite.name for suite in suites), "give each suite a name of its own")
        return suites

    @model_validator(mode="after")
    def _gates_fit(self) -> Self:
        roles = {suite.name: suite.role for suite in self.suites}
        for index, gate in enumerate(self.gates):
            where = f"gates[{index}]"
            if gate.suite not in roles:
                known = ", ".join(sorted(roles))
                raise ValueError(f"{where}.suite: no suite {gate.suite!r}: use one of {known}")
            if roles[gate.suite] is not SuiteRole.TEST:
                raise ValueError(f"{where}.suite: {gate.suite!r} has the role Validation: gates use Test suites")
            if gate.min_gain is not None and EvaluatedModels.STUDENT not in self.models:
                raise ValueError(f"{where}: {_STUDENT_IS_MEASURED.message}")
        if self.gates and EvaluatedModels.MERGED not in self.models:
            raise ValueError(f"gates: {_MERGED_IS_MEASURED.message}")
        return self

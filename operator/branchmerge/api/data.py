"""What a branch learns from: sources, and how their rows are verified, selected and limited."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from branchmerge.api.base import (
    LIST_SET,
    Choice,
    Fraction,
    Location,
    Name,
    PositiveInt,
    Rule,
    ShortText,
    SpecModel,
    cel,
    refuse_duplicates,
)


class HubDataset(SpecModel):
    """A data set of the Hugging Face Hub."""

    repo: ShortText = Field(description="Hub id, such as `open-r1/OpenR1-Math-220k`.")
    config: ShortText | None = Field(None, description="Configuration of the data set. Default: its default one.")
    split: ShortText = Field("train", description="Split to read. Default `train`.")
    revision: ShortText = Field("main", description="Branch, tag or commit; resolved once to a commit. Default `main`.")


_ONE_SHAPE = Rule(
    "has(self.messages) != (has(self.prompt) || has(self.completion))",
    "set either messages, or prompt and completion",
)
_PAIR = Rule("has(self.prompt) == has(self.completion)", "prompt and completion belong together: set both")


class Columns(SpecModel):
    """Which columns of the source hold a row: either `messages`, or `prompt` and `completion`."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_SHAPE, _PAIR))

    messages: ShortText | None = Field(None, description="Column with a list of `{role, content}` messages.")
    prompt: ShortText | None = Field(None, description="Column with the user's text.")
    completion: ShortText | None = Field(None, description="Column with the assistant's text, trace included.")

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        pair = (self.prompt is not None, self.completion is not None)
        if (self.messages is not None) == any(pair):
            raise ValueError(_ONE_SHAPE.message)
        if pair[0] != pair[1]:
            raise ValueError(_PAIR.message)
        return self


_ONE_PROMPT_PLACE = Rule("has(self.dataset) != has(self.path)", "set exactly one of dataset and path")


class PromptSource(SpecModel):
    """Prompts without answers: the teacher answers them."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_PROMPT_PLACE))

    dataset: HubDataset | None = Field(None, description="Data set of the Hub.")
    path: Location | None = Field(None, description="JSONL or Parquet: workspace path or fsspec URI.")
    column: ShortText = Field("prompt", description="Column with the user's text. Default `prompt`.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.dataset is None) == (self.path is None):
            raise ValueError(_ONE_PROMPT_PLACE.message)
        return self


_ONE_PLACE = Rule(
    "[has(self.dataset), has(self.path), has(self.prompts)].exists_one(given, given)",
    "set exactly one of dataset, path and prompts",
)
_NO_COLUMNS = Rule(
    "!has(self.prompts) || !has(self.columns)", "does not apply to prompts: use prompts.column", ".columns"
)


class Source(SpecModel):
    """One place that rows come from."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_PLACE, _NO_COLUMNS))

    dataset: HubDataset | None = Field(None, description="Data set of the Hub with complete rows.")
    path: Location | None = Field(
        None, description="JSONL or Parquet with complete rows: workspace path or fsspec URI."
    )
    prompts: PromptSource | None = Field(None, description="Prompts that the teacher answers.")
    columns: Columns | None = Field(None, description="Columns of a row. Default `{messages: messages}`.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(value is not None for value in (self.dataset, self.path, self.prompts)) != 1:
            raise ValueError(_ONE_PLACE.message)
        if self.prompts is not None and self.columns is not None:
            raise ValueError(f"columns: {_NO_COLUMNS.message}")
        return self

    @property
    def resolved_columns(self) -> Columns:
        """The columns to read, the default filled in."""
        return self.columns or Columns(messages="messages")


class VerifyMethod(Choice):
    """How an answer is compared with the reference."""

    NONE = "none"
    MATH = "math"
    CODE = "code"
    CHOICE = "choice"
    EXACT = "exact"


class Verify(SpecModel):
    """Keeps only rows whose answer is right."""

    method: VerifyMethod = Field(
        description="`math` (equivalence by math-verify), `code` (its tests run in a sandbox), `choice` (letter), "
        "`exact`, or `none`."
    )
    reference: ShortText = Field("answer", description="Column with the reference answer. Default `answer`.")
    timeout_seconds: PositiveInt = Field(30, description="Longest run of one row's tests, in seconds. Default 30.")


class SelectStrategy(Choice):
    """Which of a prompt's verified samples are kept."""

    ALL = "All"
    FIRST_CORRECT = "FirstCorrect"
    SHORTEST_CORRECT = "ShortestCorrect"


class Select(SpecModel):
    """Chooses among several samples of one prompt."""

    strategy: SelectStrategy = Field(
        SelectStrategy.ALL,
        description="Which samples are kept: `All`, or of the correct ones the `FirstCorrect` or `ShortestCorrect`. "
        "Default `All`.",
    )
    max_per_prompt: PositiveInt = Field(1, description="Samples kept for one prompt. Default 1.")


class Deduplicate(SpecModel):
    """Removes rows that repeat."""

    exact: bool = Field(True, description="Remove rows with equal messages. Default true.")
    near_threshold: Fraction | None = Field(
        None, description="Jaccard similarity (0-1) of word 5-grams above which a row repeats another. Default: off."
    )


class Decontaminate(SpecModel):
    """Removes rows whose prompt overlaps with the evaluation suites."""

    ngram: PositiveInt = Field(13, description="Length in words of an overlap that counts. Default 13.")


class RowLimits(SpecModel):
    """Caps on the curated rows."""

    max_rows: PositiveInt | None = Field(None, description="Rows kept, in the order of the sources. Default: all.")
    max_characters: PositiveInt | None = Field(
        None, description="Longest row kept, in characters over all messages. Default: no limit."
    )


_JUDGED = Rule(
    "self.?select.?strategy.orValue('All') == 'All' || self.?verify.?method.orValue('none') != 'none'",
    "only a verified answer is known to be correct: add verify, or use strategy: All",
    ".select",
)


class DataSpec(SpecModel):
    """Where a branch's rows come from and which of them are kept. Every dropped row is counted by reason."""

    model_config = ConfigDict(json_schema_extra=cel(_JUDGED))

    sources: Annotated[list[Source], Field(min_length=1, max_length=32)] = Field(
        description="Places that rows come from, read in order."
    )
    verify: Verify | None = Field(None, description="Keep only rows whose answer is right. Default: keep all.")
    select: Select | None = Field(None, description="Choose among samples of one prompt. Default: keep all.")
    deduplicate: Deduplicate | None = Field(None, description="Remove rows that repeat. Default: keep all.")
    decontaminate: Decontaminate | None = Field(
        None, description="Remove rows that overlap with the evaluation suites. Default: keep all."
    )
    limits: RowLimits | None = Field(None, description="Caps on the curated rows. Default: none.")

    @model_validator(mode="after")
    def _correct_means_verified(self) -> Self:
        judged = self.verify is not None and self.verify.method is not VerifyMethod.NONE
        if self.select is not None and self.select.strategy is not SelectStrategy.ALL and not judged:
            raise ValueError(f"select.strategy: {self.select.strategy}, but {_JUDGED.message}")
        return self


class Replay(SpecModel):
    """Rows of other branches mixed into each batch, so that a specialist does not forget them."""

    fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        description="Share of each global batch (0-1, exclusive) drawn from the other branches' curated rows."
    )
    from_: Annotated[list[Name], Field(min_length=1, max_length=32)] = Field(
        alias="from",
        description="Branches that rows are drawn from, each with an equal share.",
        json_schema_extra=LIST_SET,
    )

    @field_validator("from_")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        refuse_duplicates(names, "name each branch once")
        return names

"""What a branch learns from: sources, and how their rows are verified, selected and limited."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from branchmerge.api.base import (
    LANGUAGE,
    LIST_SET,
    Fraction,
    Location,
    Name,
    NonNegativeInt,
    PositiveInt,
    Rule,
    ShortText,
    SpecModel,
    cel,
    refuse_duplicates,
)
from branchmerge.api.compute import OneNode
from branchmerge.api.verification import Select, SelectStrategy, Verify, VerifyMethod


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
    column: ShortText = Field(
        "prompt", description="Column with the user's text, or with a list of messages. Default `prompt`."
    )

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
    max_rows: PositiveInt | None = Field(None, description="Rows or prompts taken of this source. Default: all.")
    weight: Annotated[float, Field(gt=0.0, le=1e6)] | None = Field(
        None,
        description="Share of limits.maxRows that comes from this source, in proportion to the weights of the others. "
        "Where a source has too few rows, the others fill its room. Default: rows are taken in the order of sources.",
    )

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

    @property
    def hub_dataset(self) -> HubDataset | None:
        """The data set of the Hub that it reads, with or without answers; None where it is a path."""
        return self.dataset if self.prompts is None else self.prompts.dataset

    @property
    def file(self) -> str | None:
        """The path or URI that it reads, with or without answers; None where it is a data set of the Hub."""
        return self.path if self.prompts is None else self.prompts.path


class Deduplicate(SpecModel):
    """Removes rows that repeat."""

    exact: bool = Field(True, description="Remove rows with equal messages. Default true.")
    near_threshold: Fraction | None = Field(
        None, description="Jaccard similarity (0-1) of word 5-grams above which a row repeats another. Default: off."
    )


class Decontaminate(SpecModel):
    """Removes rows whose prompt overlaps with the evaluation suites."""

    ngram: PositiveInt = Field(13, description="Length in words of an overlap that counts. Default 13.")


class Require(SpecModel):
    """Keeps only rows of a certain form."""

    closed_think: bool = Field(
        False, description="The answer's `<think>` is there and closed, and text follows it. Default false."
    )
    boxed_answer: bool = Field(False, description="The final text has a `\\boxed{}` with an answer. Default false.")
    languages: Annotated[list[Annotated[str, Field(pattern=LANGUAGE, max_length=2)]], Field(max_length=32)] = Field(
        default_factory=list,
        description="Languages (ISO 639-1) that a row's prose may be in, code and formulas aside. Default: any.",
        json_schema_extra=LIST_SET,
    )

    @field_validator("languages")
    @classmethod
    def _each_once(cls, languages: list[str]) -> list[str]:
        refuse_duplicates(languages, "name each once")
        return languages


_TOKENS_IN_ORDER = Rule(
    "!has(self.minTokens) || !has(self.maxTokens) || self.minTokens <= self.maxTokens",
    "minTokens is above maxTokens: no row would be left",
)


class RowLimits(SpecModel):
    """Caps on the curated rows."""

    model_config = ConfigDict(json_schema_extra=cel(_TOKENS_IN_ORDER))

    max_rows: PositiveInt | None = Field(
        None,
        description="Rows kept, in the order of the sources, or of the shuffle. A teacher is asked all the same: the "
        "maxRows of a source limits its prompts. Default: all.",
    )
    max_characters: PositiveInt | None = Field(
        None, description="Longest row kept, in characters over all messages. Default: no limit."
    )
    min_tokens: PositiveInt | None = Field(
        None, description="Shortest row kept, in tokens of the student's tokenizer. Default: no limit."
    )
    max_tokens: PositiveInt | None = Field(
        None, description="Longest row kept, in tokens of the student's tokenizer. Default: no limit."
    )

    @model_validator(mode="after")
    def _leave_something(self) -> Self:
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(_TOKENS_IN_ORDER.message)
        return self

    @property
    def count_tokens(self) -> bool:
        """Whether the student's tokenizer is needed."""
        return self.min_tokens is not None or self.max_tokens is not None


class Shuffle(SpecModel):
    """Puts the rows into an order that depends on the seed and on nothing else."""

    seed: NonNegativeInt = Field(42, description="Seed of the order. Default 42.")


_JUDGED = Rule(
    "self.?select.?strategy.orValue('All') == 'All' || self.?verify.?method.orValue('none') != 'none'",
    "only a verified answer is known to be correct: add verify, or use strategy: All",
    ".select",
)
_EACH_HAS_A_WEIGHT = Rule(
    "self.sources.all(s, has(s.weight)) || !self.sources.exists(s, has(s.weight))",
    "weights are compared with each other: give every source one, or none",
    ".sources",
)
_WEIGHTS_SHARE_OUT = Rule(
    "!self.sources.exists(s, has(s.weight)) || has(self.limits) && has(self.limits.maxRows)",
    "weights share out limits.maxRows: set it, or remove them",
    ".sources",
)


class DataSpec(SpecModel):
    """Where a branch's rows come from and which of them are kept. Every dropped row is counted by reason."""

    model_config = ConfigDict(json_schema_extra=cel(_JUDGED, _EACH_HAS_A_WEIGHT, _WEIGHTS_SHARE_OUT))

    sources: Annotated[list[Source], Field(min_length=1, max_length=32)] = Field(
        description="Places that rows come from, read in order."
    )
    require: Require | None = Field(None, description="Keep only rows of a certain form. Default: keep all.")
    verify: Verify | None = Field(None, description="Keep only rows whose answer is right. Default: keep all.")
    select: Select | None = Field(None, description="Choose among answers to one prompt. Default: keep all.")
    deduplicate: Deduplicate | None = Field(None, description="Remove rows that repeat. Default: keep all.")
    decontaminate: Decontaminate | None = Field(
        None, description="Remove rows that overlap with the evaluation suites. Default: keep all."
    )
    limits: RowLimits | None = Field(None, description="Caps on the curated rows. Default: none.")
    shuffle: Shuffle | None = Field(
        None, description="Order of the rows, before maxRows caps them. Default: as the sources have them."
    )
    resources: OneNode | None = Field(
        None, description="Pool and size of the branch's curation; no part of what it makes. Default: no pool, no GPU."
    )

    @model_validator(mode="after")
    def _correct_means_verified(self) -> Self:
        judged = self.verify is not None and self.verify.method is not VerifyMethod.NONE
        if self.select is not None and self.select.strategy is not SelectStrategy.ALL and not judged:
            raise ValueError(f"select.strategy: {self.select.strategy}, but {_JUDGED.message}")
        return self

    @model_validator(mode="after")
    def _weights_share_something_out(self) -> Self:
        weighted = [source.weight is not None for source in self.sources]
        if any(weighted) and not all(weighted):
            raise ValueError(f"sources[{weighted.index(False)}]: {_EACH_HAS_A_WEIGHT.message}")
        if any(weighted) and (self.limits is None or self.limits.max_rows is None):
            raise ValueError(f"sources: {_WEIGHTS_SHARE_OUT.message}")
        return self

    @property
    def asks(self) -> bool:
        """Whether a teacher answers some of its rows."""
        return any(source.prompts is not None for source in self.sources)


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

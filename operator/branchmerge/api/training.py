"""How a branch is trained. Every leaf has a default, so that a branch may override single leaves."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from branchmerge.api.base import Choice, Fraction, NonNegativeInt, PositiveInt, Rule, ShortText, SpecModel, cel

DEFAULT_EPOCHS = 3.0


class ScheduleType(Choice):
    """Learning-rate schedules, by transformers' names."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_MIN_LR = "cosine_with_min_lr"


class Schedule(SpecModel):
    """The learning rate over the steps of a run."""

    type: ScheduleType = Field(ScheduleType.COSINE, description="Name of the schedule. Default `cosine`.")
    warmup_ratio: Fraction = Field(0.0, description="Share of the steps (0-1) spent on linear warm-up. Default 0.")
    min_rate_ratio: Fraction = Field(
        0.1,
        description="Last learning rate as a share (0-1) of `learningRate`; for cosine_with_min_lr. Default 0.1.",
    )


class OptimizerType(Choice):
    """Optimizers with fp32 state."""

    ADAMW = "adamw"


DecayRate = Annotated[float, Field(ge=0.0, lt=1.0)]


class Optimizer(SpecModel):
    """The optimizer; its state is fp32 always."""

    type: OptimizerType = Field(OptimizerType.ADAMW, description="Name of the optimizer. Default `adamw`.")
    betas: Annotated[list[DecayRate], Field(min_length=2, max_length=2)] = Field(
        default=[0.9, 0.95], description="Decay rates (0-1, below 1) of the two moments. Default [0.9, 0.95]."
    )
    epsilon: float = Field(1e-8, gt=0, description="Added to the denominator. Default 1e-8.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay a step. Default 0.")


class Overlong(Choice):
    """What happens to a row of more than `sequenceLength` tokens."""

    DROP = "Drop"
    TRUNCATE = "Truncate"
    SPLIT = "Split"


class PackingStrategy(Choice):
    """How rows are put together into sequences."""

    NONE = "None"
    BEST_FIT = "BestFit"


class Packing(SpecModel):
    """Several rows in one sequence; they never attend to each other."""

    strategy: PackingStrategy = Field(
        PackingStrategy.BEST_FIT, description="`BestFit` (best-fit decreasing) or `None`. Default `BestFit`."
    )


class LossOn(Choice):
    """The tokens that are learned."""

    ASSISTANT = "Assistant"
    LAST_TURN = "LastTurn"
    ALL = "All"


class ChatTemplate(SpecModel):
    """The template that renders messages for training."""

    training: ShortText = Field(
        "student",
        description="`student` (the student's own), the name of a template that ships with the trainer "
        "(`r1-distill`), or the workspace path of a Jinja file. A template that drops the trace is refused. "
        "Default `student`.",
    )


class ComputeType(Choice):
    """Arithmetic of the forward and backward pass."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Precision(SpecModel):
    """Arithmetic; master weights and optimizer states are fp32 always."""

    compute: ComputeType = Field(
        ComputeType.BFLOAT16, description="Arithmetic of forward and backward pass. Default `bfloat16`."
    )


class ParallelStrategy(Choice):
    """How a branch is spread over its GPUs."""

    DDP = "DDP"
    DEEPSPEED = "DeepSpeed"


class Parallelism(SpecModel):
    """How a branch is spread over its GPUs."""

    strategy: ParallelStrategy = Field(
        ParallelStrategy.DDP, description="`DDP` (replicas) or `DeepSpeed` (ZeRO). Default `DDP`."
    )
    zero_stage: Annotated[int, Field(ge=0, le=3)] = Field(
        3, description="What ZeRO shards: 1 optimizer, 2 and gradients, 3 and weights. For DeepSpeed. Default 3."
    )


class Checkpointing(SpecModel):
    """When a run is saved, so that it can resume. No part of a fingerprint."""

    every_steps: PositiveInt = Field(50, description="Optimizer steps between two checkpoints. Default 50.")
    keep: PositiveInt = Field(2, description="Newest checkpoints kept. Default 2.")
    grace_period_seconds: PositiveInt = Field(120, description="Time to save after SIGTERM, in seconds. Default 120.")


_ONE_LENGTH = Rule("!(has(self.epochs) && has(self.maxSteps))", "set epochs or maxSteps, not both")


class Training(SpecModel):
    """Full-parameter supervised fine-tuning of one branch."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_LENGTH))

    epochs: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Passes over the branch's rows. Default 3 where maxSteps is not set."
    )
    max_steps: PositiveInt | None = Field(None, description="Optimizer steps; instead of epochs.")
    learning_rate: float = Field(1e-5, gt=0, le=1.0, description="Peak learning rate. Default 1e-5.")
    schedule: Schedule = Field(default_factory=Schedule, description="The learning rate over the run.")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimizer.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradient norm above which it is clipped; 0: never. Default 1.")
    sequence_length: PositiveInt = Field(4096, description="Longest sequence, in tokens. Default 4096.")
    overlong: Overlong = Field(
        Overlong.DROP,
        description="Rows of more than sequenceLength tokens: `Drop`, `Truncate` or `Split`; all are counted. "
        "Default `Drop`.",
    )
    global_batch_size: PositiveInt = Field(
        32, description="Sequences (packed rows) an optimizer step, whatever the number of GPUs. Default 32."
    )
    micro_batch_size: PositiveInt = Field(
        1, description="Sequences a forward pass of one rank; accumulation is derived. Default 1."
    )
    packing: Packing = Field(default_factory=Packing, description="Several rows in one sequence.")
    loss_on: LossOn = Field(
        LossOn.ASSISTANT, description="Tokens that are learned: `Assistant`, `LastTurn` or `All`. Default `Assistant`."
    )
    chat_template: ChatTemplate = Field(default_factory=ChatTemplate, description="How messages are rendered.")
    precision: Precision = Field(default_factory=Precision, description="Arithmetic.")
    parallelism: Parallelism = Field(default_factory=Parallelism, description="How a branch is spread over its GPUs.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass to save memory. Default false."
    )
    checkpoint: Checkpointing = Field(
        default_factory=Checkpointing, description="When a run is saved. No part of the fingerprint."
    )
    seed: NonNegativeInt = Field(42, description="Seed of data order and dropout. Default 42.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError(_ONE_LENGTH.message)
        return self

    @property
    def resolved_epochs(self) -> float | None:
        """Passes over the rows, or None where `max_steps` rules."""
        if self.max_steps is not None:
            return None
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    def overridden_by(self, branch: Training | None) -> Training:
        """These settings with the leaves that `branch` sets: maps merge deeply, lists and scalars are replaced."""
        if branch is None:
            return self
        defaults = self.model_dump(exclude_unset=True, by_alias=False)
        overrides = branch.model_dump(exclude_unset=True, by_alias=False)
        if overrides.get("epochs") is not None or overrides.get("max_steps") is not None:
            defaults.pop("epochs", None)
            defaults.pop("max_steps", None)
        return Training.model_validate(_deep_merge(defaults, overrides))


def _deep_merge(defaults: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in overrides.items():
        below = merged.get(key)
        merged[key] = _deep_merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged

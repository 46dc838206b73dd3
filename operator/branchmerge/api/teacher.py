"""The teacher: the larger model that answers prompts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from branchmerge.api.base import Mass, NonNegativeInt, PositiveInt, SpecModel
from branchmerge.api.endpoint import Endpoint


class Sampling(SpecModel):
    """How the teacher's answers are drawn."""

    samples: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Answers drawn a prompt. Default 1.")
    temperature: float = Field(0.6, ge=0.0, le=2.0, description="Softmax temperature; 0 is greedy. Default 0.6.")
    top_p: Mass = Field(0.95, description="Nucleus sampling mass (0-1, not 0). Default 0.95.")
    max_tokens: PositiveInt = Field(
        16384, description="Longest answer, reasoning included, in tokens; a longer one is dropped. Default 16384."
    )
    seed: NonNegativeInt = Field(42, description="Seed from which every answer's own is derived. Default 42.")


class Teacher(Endpoint):
    """The endpoint that answers prompts; needed only where a branch starts from prompts."""

    system_prompt: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        None, description="System message put before each prompt that has none; no part of the rows. Default: none."
    )
    sampling: Sampling = Field(default_factory=Sampling, description="How answers are drawn.")

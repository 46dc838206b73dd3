"""The teacher: the larger model that answers prompts."""

from __future__ import annotations

from pydantic import Field

from branchmerge.api.base import CURRENCY, HTTP_URL, AmountText, Location, Mass, PositiveInt, ShortText, SpecModel
from branchmerge.api.objects import SecretKeyRef


class Sampling(SpecModel):
    """How the teacher's answers are drawn."""

    samples: PositiveInt = Field(1, description="Samples a prompt. Default 1.")
    temperature: float = Field(0.6, ge=0.0, le=2.0, description="Softmax temperature; 0 is greedy. Default 0.6.")
    top_p: Mass = Field(0.95, description="Nucleus sampling mass (0-1, not 0). Default 0.95.")
    max_tokens: PositiveInt = Field(16384, description="Longest answer, in tokens. Default 16384.")


class Money(SpecModel):
    """An amount of money."""

    amount: AmountText = Field(description="Amount, as decimal text.")
    currency: str = Field("USD", pattern=CURRENCY, max_length=3, description="ISO 4217 code. Default `USD`.")


class TeacherLimits(SpecModel):
    """Bounds on the use of the endpoint."""

    concurrency: PositiveInt = Field(64, description="Requests in flight. Default 64.")
    max_cost: Money | None = Field(None, description="Sampling stops when it has cost this much. Default: no limit.")


class Teacher(SpecModel):
    """An OpenAI-compatible endpoint (vLLM, SGLang, DeepSeek's API); needed only where a branch starts from prompts."""

    endpoint: Location = Field(pattern=HTTP_URL, description="Base URL, such as `https://vllm.svc/v1`.")
    model: ShortText = Field(description="Model name that the endpoint knows.")
    api_key_secret_ref: SecretKeyRef | None = Field(None, description="API key. Default: none is sent.")
    sampling: Sampling = Field(default_factory=Sampling, description="How answers are drawn.")
    limits: TeacherLimits = Field(default_factory=TeacherLimits, description="Bounds on the use of the endpoint.")

"""An OpenAI-compatible endpoint: where it is, what it may be asked, and what its answers cost."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from branchmerge.api.base import (
    CURRENCY,
    HTTP_URL,
    AmountText,
    Location,
    NonNegativeInt,
    PositiveInt,
    Rule,
    ShortText,
    SpecModel,
    cel,
)
from branchmerge.api.objects import SecretKeyRef

Currency = Annotated[str, Field(pattern=CURRENCY, max_length=3)]
"""An ISO 4217 code."""


class Money(SpecModel):
    """An amount of money."""

    amount: AmountText = Field(description="Amount, as decimal text.")
    currency: Currency = Field("USD", description="ISO 4217 code. Default `USD`.")


class Prices(SpecModel):
    """What tokens cost."""

    input_per_million: AmountText = Field(description="Price of 1,000,000 prompt tokens, as decimal text.")
    output_per_million: AmountText = Field(
        description="Price of 1,000,000 generated tokens, reasoning included, as decimal text."
    )
    currency: Currency = Field("USD", description="ISO 4217 code. Default `USD`.")


class EndpointLimits(SpecModel):
    """Bounds on the use of an endpoint, by one branch's curation."""

    concurrency: PositiveInt = Field(64, description="Requests in flight. Default 64.")
    requests_per_minute: PositiveInt | None = Field(None, description="Requests a minute. Default: no limit.")
    tokens_per_minute: PositiveInt | None = Field(
        None, description="Prompt and generated tokens a minute. Default: no limit."
    )
    max_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = Field(
        None,
        description="Nothing more is asked once so many prompt and generated tokens were used, over all attempts. "
        "Default: no limit.",
    )
    max_cost: Money | None = Field(
        None,
        description="Nothing more is asked once the answers have cost this much, over all attempts; needs prices. "
        "Default: no limit.",
    )


_PRICED = Rule(
    "!has(self.limits) || !has(self.limits.maxCost) || has(self.prices)",
    "nothing says what tokens cost: add prices",
    ".limits.maxCost",
)
_ONE_CURRENCY = Rule(
    "!has(self.limits) || !has(self.limits.maxCost) || !has(self.prices)"
    " || (has(self.limits.maxCost.currency) ? self.limits.maxCost.currency : 'USD')"
    " == (has(self.prices.currency) ? self.prices.currency : 'USD')",  # of an `orValue` the cost cannot be estimated
    "prices are in another currency: use one for both",
    ".limits.maxCost",
)


class Endpoint(SpecModel):
    """An OpenAI-compatible endpoint (vLLM, SGLang, DeepSeek's API)."""

    model_config = ConfigDict(json_schema_extra=cel(_PRICED, _ONE_CURRENCY))

    endpoint: Location = Field(pattern=HTTP_URL, description="Base URL, such as `https://vllm.svc/v1`.")
    model: ShortText = Field(description="Model name that the endpoint knows.")
    api_key_secret_ref: SecretKeyRef | None = Field(
        None,
        description="API key. A local run takes it from the environment: `{name: teacher, key: api-key}` is "
        "`TEACHER_API_KEY`. Default: none is sent.",
    )
    limits: EndpointLimits = Field(default_factory=EndpointLimits, description="Bounds on the use of the endpoint.")
    prices: Prices | None = Field(None, description="What tokens cost. Default: costs are not counted.")
    request_timeout_seconds: PositiveInt = Field(
        600, description="Longest wait for the next part of an answer, in seconds. Default 600."
    )
    retries: NonNegativeInt = Field(
        8,
        description="Further tries of a request that failed for now (429, 5xx, lost connection), with growing waits. "
        "Default 8.",
    )

    @model_validator(mode="after")
    def _cost_is_counted(self) -> Self:
        most = self.limits.max_cost
        if most is None:
            return self
        if self.prices is None:
            raise ValueError(f"limits.maxCost: {most.amount} {most.currency}, but {_PRICED.message}")
        if self.prices.currency != most.currency:
            raise ValueError(
                f"limits.maxCost.currency: {most.currency!r}, but prices are in {self.prices.currency}: "
                "use one for both"
            )
        return self

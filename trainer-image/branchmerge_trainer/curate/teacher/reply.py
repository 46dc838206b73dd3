"""Puts an answer together from what an endpoint sends: the events of a stream, or one JSON document.

Only what is needed is looked at, and by hand: a stream has an event for every token, and models of a library take ten
times as long for each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

_DONE = b"[DONE]"
_REASONING = ("reasoning_content", "reasoning")
"""Where endpoints put the trace: DeepSeek, SGLang and vLLM; newer vLLM."""
_MOST_TOKENS = 2**31
"""No request has more: whoever counts more counts something else."""
_OPEN, _CLOSE = "<think>", "</think>"


class ReplyError(Exception):
    """What came is no answer. `fault` says why in few words, `detail` in more.

    The detail holds what came as a whole: whoever shows a part of it takes keys out of it first.
    """

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Reasoning included."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote."""

    content: str
    reasoning: str | None
    """The trace, where the endpoint gives it apart."""
    finish_reason: str
    """`stop`; `length` where `max_tokens` cut the answer; others as the endpoint has them."""
    model: str | None = None
    """As the endpoint calls it."""
    usage: Usage | None = None
    """None where the endpoint does not tell."""


def text_of(content: str, reasoning: str | None) -> str:
    """The whole answer, its trace in `<think>`.

    An endpoint without a parser of traces gives all as content; where its chat template opens the trace, as R1's does,
    the opening tag is no part of what the model wrote.
    """
    if reasoning and reasoning.strip():
        return f"{_OPEN}\n{reasoning.strip()}\n{_CLOSE}\n\n{content.lstrip()}"
    if _CLOSE in content and _OPEN not in content:
        return f"{_OPEN}\n{content.lstrip()}"
    return content


class Collector:
    """Collects the events of a stream (`text/event-stream`)."""

    def __init__(self) -> None:
        self._rest = b""
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._finish_reason: str | None = None
        self._model: str | None = None
        self._usage: Usage | None = None

    @property
    def characters(self) -> int:
        """Written so far."""
        return sum(map(len, self._content)) + sum(map(len, self._reasoning))

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether they had an event. Comments, which keep a connection alive, are none.

        Lines end with LF here, and not with what Unicode calls a line end: texts in JSON may hold such as they are.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        for event in events:
            if event and event != _DONE:
                self._take(_parsed(event))
        return bool(events)

    def reply(self) -> Reply:
        """The answer, once the stream has ended. Raises ReplyError where that was too soon."""
        if self._finish_reason is None:
            raise ReplyError("cut off", f"the stream ended after {self.characters} characters, before the answer did")
        reasoning = "".join(self._reasoning) or None
        return _checked(Reply("".join(self._content), reasoning, self._finish_reason, self._model, self._usage))

    def _take(self, event: Any) -> None:
        _refuse_error(event)
        for choice in _choices(event):
            delta = _fields(choice.get("delta") or {}, "delta")
            self._content.append(_text(delta, "content") or "")
            self._reasoning.append(_reasoning(delta) or "")
            self._finish_reason = _text(choice, "finish_reason") or self._finish_reason
        self._model = _text(event, "model") or self._model
        self._usage = _usage(event) or self._usage


def parse_completion(body: bytes) -> Reply:
    """The answer in a JSON document, of an endpoint that does not stream. Raises ReplyError where there is none."""
    event = _parsed(body)
    _refuse_error(event)
    choices = _choices(event)
    if not choices:
        raise ReplyError("wrong schema", "no choices")
    message = _fields(choices[0].get("message"), "message")
    content, finish_reason = _text(message, "content"), _text(choices[0], "finish_reason")
    if finish_reason is None:
        raise ReplyError("wrong schema", "no finish_reason")
    return _checked(Reply(content or "", _reasoning(message), finish_reason, _text(event, "model"), _usage(event)))


def _checked(reply: Reply) -> Reply:
    if reply.finish_reason in ("abort", "error"):
        raise ReplyError("cut off", f"the endpoint ended the answer: finish_reason {reply.finish_reason!r}")
    return replace(
        reply,
        content=encodable(reply.content),
        reasoning=encodable(reply.reasoning or "") or None,
        finish_reason=encodable(reply.finish_reason),
        model=encodable(reply.model or "") or None,
    )


def encodable(text: str) -> str:
    """The text with halves of a character (surrogates) put together; those that are alone become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReplyError("malformed JSON", f"{error}: {data!r}") from None


def _refuse_error(event: Any) -> None:
    """Endpoints that fail in the midst of a stream say so in an event, as its status is sent already."""
    if isinstance(event, dict) and event.get("error"):
        raise ReplyError("server error", str(event["error"]))


def _choices(event: Any) -> list[dict[str, Any]]:
    """The first choice; none in an event that only tells the usage."""
    choices = _fields(event, "event").get("choices")
    if not isinstance(choices, list):
        raise ReplyError("wrong schema", f"choices is {choices!r}, not a list")
    return [_fields(choice, "choice") for choice in choices[:1]]


def _reasoning(message: dict[str, Any]) -> str | None:
    return next((text for name in _REASONING if (text := _text(message, name))), None)


def _fields(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReplyError("wrong schema", f"{name} is {value!r}, not an object")
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ReplyError("wrong schema", f"{name} is {value!r}, not text")
    return value


def _usage(event: dict[str, Any]) -> Usage | None:
    """None also where the numbers cannot be counts, such as those below zero: they would give the budget back."""
    usage = event.get("usage")
    if usage is None:
        return None
    try:
        counts = float(usage["prompt_tokens"]), float(usage.get("completion_tokens") or 0)
    except OverflowError:
        return None
    except (TypeError, ValueError, LookupError, AttributeError):
        raise ReplyError("wrong schema", f"usage is {usage!r}") from None
    prompt, completion = counts
    return Usage(int(prompt), int(completion)) if all(0 <= each <= _MOST_TOKENS for each in counts) else None

"""One request to an endpoint: what comes back is an answer, a refusal, or a reason to try again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, omit

from branchmerge.api.endpoint import Endpoint
from branchmerge_trainer.curate.teacher.reply import Collector, Reply, ReplyError, Usage, encodable, parse_completion
from branchmerge_trainer.curate.teacher.request import Request
from branchmerge_trainer.curate.teacher.retries import is_transient, retry_after

_CONNECT_SECONDS = 30.0
_SHOWN_CHARACTERS = 300
_NOT_OURS = ("OpenAI-Organization", "OpenAI-Project")
"""Headers that the client would fill from the environment of whoever starts it."""
_UNCONNECTED: dict[type[OSError], str] = {
    ConnectionRefusedError: "connection refused",
    socket.gaierror: "unknown host",
    ssl.SSLError: "no TLS connection",
}


class RefusedError(Exception):
    """The endpoint refuses the request for good."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}: {said}")
        self.status = status
        self.said = said


class RetryableError(Exception):
    """The request failed for now."""

    def __init__(
        self,
        fault: str,
        detail: str,
        *,
        after: float | None = None,
        usage: Usage | None = None,
        connected: bool = True,
    ) -> None:
        """`fault`: few words. `after`: seconds that the endpoint asks to wait. `usage`: what it cost nevertheless.

        `connected`: whether there was a connection at all.
        """
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.after = after
        self.usage = usage or Usage()
        self.connected = connected


class Connection:
    """Asks one endpoint for one model's answers.

    Answers are streamed: what takes an hour to write sends a part of it every moment, so that a connection that idles
    is a fault, which an hour's wait for a whole answer is not; and proxies close connections that idle.
    """

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        self._endpoint = endpoint
        self._key = key
        concurrency = endpoint.limits.concurrency
        not_sent = _NOT_OURS if key else (*_NOT_OURS, "Authorization")
        self._headers: Any = dict.fromkeys(not_sent, omit)
        self._client = AsyncOpenAI(
            base_url=endpoint.endpoint,
            api_key=key or "none",  # which the client insists on and, by these headers, does not send
            max_retries=0,  # ours know of budgets, and of streams
            timeout=httpx2.Timeout(endpoint.request_timeout_seconds, connect=_CONNECT_SECONDS),
            http_client=openai.DefaultAsyncHttpxClient(
                limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def ask(self, request: Request, accepted: Callable[[], None]) -> Reply:
        """The answer; `accepted` is called once the endpoint begins to give it.

        Raises RefusedError where it never will, RetryableError where it may later.
        """
        collector = Collector()
        try:
            return await self._asked(request, accepted, collector)
        except openai.APIStatusError as error:
            raise self._of_status(error) from None
        except ReplyError as bad:
            raise self._lost(bad.fault, bad.detail, request, collector) from None
        except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
            if (fault := _no_connection(error)) is not None:
                raise RetryableError(fault, f"none within {_CONNECT_SECONDS:.0f} s", connected=False) from None
            silence = f"nothing for {self._endpoint.request_timeout_seconds} s"
            raise self._lost("timed out", silence, request, collector) from None
        except (openai.APIError, httpx2.HTTPError, httpx2.StreamError) as error:
            cause = error.__cause__ or error
            detail = f"{type(cause).__name__}: {cause}"
            if (fault := _no_connection(error)) is not None:
                raise RetryableError(fault, self._safe(detail), connected=False) from None
            raise self._lost("connection lost", detail, request, collector) from None

    async def _asked(self, request: Request, accepted: Callable[[], None], collector: Collector) -> Reply:
        patience = self._endpoint.request_timeout_seconds
        loop = asyncio.get_running_loop()
        messages: Any = request.messages
        async with (
            asyncio.timeout(patience) as deadline,
            self._client.chat.completions.with_streaming_response.create(
                model=self._endpoint.model,
                messages=messages,
                **asdict(request.drawing),
                extra_headers=self._headers,
                stream=True,
                stream_options={"include_usage": True},
            ) as response,
        ):
            accepted()
            if response.headers.get("content-type", "").startswith("application/json"):
                return parse_completion(await response.read())
            async for data in response.iter_bytes():
                if collector.feed(data):
                    deadline.reschedule(loop.time() + patience)
            return collector.reply()

    def _lost(self, fault: str, detail: str, request: Request, collector: Collector) -> RetryableError:
        """What was written before the connection was lost has been paid for, though nobody counted it."""
        usage = request.usage(collector.characters) if collector.characters else None
        return RetryableError(fault, self._safe(detail), usage=usage)

    def _of_status(self, error: openai.APIStatusError) -> RefusedError | RetryableError:
        status, said = error.status_code, self._safe(_message_of(error))
        if not is_transient(status):
            return RefusedError(status, said)
        fault = "rate limited" if status == 429 else "server error"
        after = retry_after(error.response.headers, datetime.now(UTC))
        return RetryableError(fault, f"HTTP {status}: {said}", after=after)

    def _safe(self, text: str) -> str:
        """What the endpoint said, on one short line, without the key, which some repeat; not even a part of it."""
        line = encodable(" ".join(text.split()))
        if self._key:
            line = line.replace(self._key, "***")
        return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def _message_of(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body or error.message)


def _no_connection(error: BaseException) -> str | None:
    """Why there was no connection at all, in few words; None where there was one."""
    causes = list(_causes(error))
    if any(isinstance(cause, httpx2.ConnectTimeout) for cause in causes):
        return "connection timed out"
    if not any(isinstance(cause, httpx2.ConnectError) for cause in causes):
        return None
    named = (word for cause in causes for kind, word in _UNCONNECTED.items() if isinstance(cause, kind))
    return next(named, "no connection")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what led to it: of a host with several addresses, what failed at each."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__

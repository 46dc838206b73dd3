"""An OpenAI-compatible endpoint that misbehaves as it is told, and remembers all that it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "teacher-1"


@dataclass(frozen=True)
class Received:
    """A request to the endpoint."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    at: float
    nth: int
    """How many times this prompt and seed were asked, this time included."""

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def key(self) -> tuple[str, int]:
        return self.prompt, self.body["seed"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: ModelEndpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received = self.endpoint.receive(body, dict(self.headers))
        with suppress(ConnectionError), self.endpoint.serving():
            self.endpoint.react(received)(self)

    def log_message(self, *args: Any) -> None:
        pass

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, **fields: Any) -> None:
        fields = {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [], **fields}
        self.chunk(b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n")

    def piece(self, finish_reason: str | None = None, **delta: Any) -> None:
        self.event(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


Reaction = Callable[[Handler], None]


def says(
    text: str,
    reasoning: str | None = None,
    *,
    field: str = "reasoning_content",
    finish_reason: str = "stop",
    usage: tuple[int, int] | None = (10, 20),
    seconds: float = 0.0,
    keep_alive: bool = False,
) -> Reaction:
    """Streams an answer, its pieces over some seconds."""

    def react(handler: Handler) -> None:
        handler.begin_stream()
        if keep_alive:
            handler.chunk(b": keep-alive\n\n")
        handler.piece(role="assistant", content="")
        pieces = [{field: word} for word in _pieces(reasoning)] + [{"content": word} for word in _pieces(text)]
        for piece in pieces:
            time.sleep(seconds / len(pieces))
            handler.piece(**piece)
        handler.piece(finish_reason)
        if usage is not None:
            handler.event(usage={"prompt_tokens": usage[0], "completion_tokens": usage[1]})
        handler.chunk(b"data: [DONE]\n\n")
        handler.chunk(b"")

    return react


def says_at_once(text: str, reasoning: str | None = None) -> Reaction:
    """An answer in one JSON document, though a stream was asked for."""
    message = {"role": "assistant", "content": text, "reasoning": reasoning}
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    document = {"model": MODEL, "usage": usage, "choices": [{"message": message, "finish_reason": "stop"}]}
    return sends(json.dumps(document).encode())


def sends(body: bytes, status: int = 200, **headers: str) -> Reaction:
    return lambda handler: handler.send(status, body, **headers)


def fails(status: int, message: str = "no", **headers: str) -> Reaction:
    return sends(json.dumps({"error": {"message": message, "code": status}}).encode(), status, **headers)


def streams(*data: bytes, ends: bool = True) -> Reaction:
    """Any bytes as a stream; where it does not end, the connection is cut."""

    def react(handler: Handler) -> None:
        handler.begin_stream()
        for each in data:
            handler.chunk(each)
        if ends:
            handler.chunk(b"")
        else:
            handler.cut()

    return react


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(**delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


def hangs(seconds: float, *, keep_alive: bool = False) -> Reaction:
    """Says nothing, but for comments that keep the connection alive."""

    def react(handler: Handler) -> None:
        handler.begin_stream()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not handler.endpoint.is_over.wait(0.1):
            if keep_alive:
                handler.chunk(b": keep-alive\n\n")
        handler.cut()

    return react


def hangs_up() -> Reaction:
    return lambda handler: handler.cut()


def _pieces(text: str | None) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)] if text else []


@dataclass
class ModelEndpoint:
    react: Callable[[Received], Reaction]
    received: list[Received] = field(default_factory=list)
    url: str = ""
    most_at_once: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0
    _asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, body: dict[str, Any], headers: dict[str, str]) -> Received:
        with self._lock:
            key = body["messages"][-1]["content"], body["seed"]
            self._asked[key] += 1
            received = Received(body, headers, time.monotonic(), self._asked[key])
            self.received.append(received)
            return received

    @contextmanager
    def serving(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    @property
    def prompts(self) -> list[str]:
        return [received.prompt for received in self.received]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed, or a connection that a reaction has cut


@contextmanager
def model_endpoint(react: Callable[[Received], Reaction]) -> Iterator[ModelEndpoint]:
    """Serves until the context ends; `react` says how each request is answered."""
    endpoint = ModelEndpoint(react)
    server = _Server(("127.0.0.1", 0), type("_Handler", (Handler,), {"endpoint": endpoint}))
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()

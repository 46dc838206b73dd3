#!/usr/bin/env python3
"""The miniature's teacher: an OpenAI-compatible endpoint that solves its problems, and errs in a known share of them.

    python examples/mini/teacher.py [--port N] [--host ADDRESS] [--seed N] [--wrong SHARE] [COMMAND ...]

It errs as models do: not anywhere, but on what it does not know. Of some kinds of questions it believes something
wrong, and then three of four of its answers are wrong, always in the same way: it takes one quantity for another, one
operation for another, or gets a sum of two digits wrong. So what it teaches unverified is learned, and of several
answers to one question the right one can be told. Prompt and seed determine an answer.

The first line printed is the endpoint's URL. With a command the teacher is there as long as that runs, such as
`branchmerge run examples/mini/selective.yaml`, and ends with its exit code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any

from make import SEED
from miniature.domains import OPERATIONS, Domain, Problem, make_domains

MODEL = "mini-teacher"
WRONG = 0.25
WRONG_WHERE_WEAK = 0.75
"""Share of wrong answers to questions of a kind that the teacher is weak in."""


class Knowledge:
    """What the teacher knows, and what it only believes to know."""

    def __init__(self, domains: Mapping[str, Domain], wrong: float) -> None:
        """`wrong`: share of wrong answers in each domain, 0 to 0.75."""
        if not 0.0 <= wrong <= WRONG_WHERE_WEAK:
            raise ValueError(f"--wrong {wrong}: use a share from 0 to {WRONG_WHERE_WEAK}")
        self._problems = {
            problem.prompt: (name, problem) for name, domain in domains.items() for problem in _all(domain)
        }
        self._quantities = sorted({_kind("science", problem.prompt) for problem in _all(domains["science"])})
        self._weak = {name: _weak_kinds(name, domain, wrong / WRONG_WHERE_WEAK) for name, domain in domains.items()}

    def answer(self, prompt: str, seed: int) -> str | None:
        """The trace in `<think>` and the answer to a prompt; None to what is no problem of the miniature."""
        if prompt not in self._problems:
            return None
        name, problem = self._problems[prompt]
        if _kind(name, prompt) in self._weak[name] and _rank(prompt, seed) < WRONG_WHERE_WEAK:
            problem = self._mistaken(name, problem)
        return problem.solution["content"]

    def _mistaken(self, name: str, problem: Problem) -> Problem:
        """The problem with the solution that the teacher believes in."""
        match name:
            case "math":  # the sum of the last two digits is one more; what is carried is not
                digit = str((int(problem.trace[0]) + 1) % 10)
                return Problem(problem.prompt, digit + problem.trace[1:], problem.answer[:-1] + digit)
            case "coding":  # the last operation is another one
                letters = problem.trace.rpartition(",")[2]
                results = (operation(letters) for operation in OPERATIONS.values())
                answer = next(result for result in results if result != problem.answer)
                return Problem(problem.prompt, problem.trace, answer)
            case _:  # the quantity is another one
                factor, quantity, rest = problem.prompt[0], problem.prompt[1:4], problem.prompt[4:]
                after = self._quantities.index(quantity) + 1
                others = self._quantities[after:] + self._quantities
                asked = (self._problems.get(f"{factor}{other}{rest}") for other in others)
                other = next(each for _, each in filter(None, asked) if each.answer != problem.answer)
                return Problem(problem.prompt, other.trace, other.answer)


def _all(domain: Domain) -> Iterator[Problem]:
    return chain(domain.train, domain.probe, domain.suite)


def _weak_kinds(name: str, domain: Domain, share: float) -> frozenset[str]:
    kinds = sorted({_kind(name, problem.prompt) for problem in _all(domain)}, key=_rank)
    return frozenset(kinds[: round(share * len(kinds))])


def _kind(name: str, prompt: str) -> str:
    """What the teacher is either good or weak at: a pair of last digits, a program, or a quantity."""
    match name:
        case "math":
            left, right = prompt.removesuffix("=").split("+")
            return f"{left[-1]}+{right[-1]}"
        case "coding":
            return prompt.rpartition(" ")[0]
        case _:
            return prompt[1:4]


def _rank(text: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6]) / 2**48


class RequestError(ValueError):
    """A request that cannot be answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def completion(knowledge: Knowledge, request: Any) -> dict[str, Any]:
    """The `chat.completion` that answers a request. Raises RequestError where it cannot be answered."""
    try:
        model, prompt, most = request["model"], request["messages"][-1]["content"], request.get("max_tokens")
        seed = int(request.get("seed") or 0)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(400, f"this is no request for a chat completion: {error}") from None
    if model != MODEL:
        raise RequestError(404, f"the model {model!r} does not exist: use {MODEL!r}")
    text = knowledge.answer(prompt, seed)
    if text is None:
        raise RequestError(400, f"{prompt!r} is no problem of the miniature")
    written = text if most is None else text[:most]
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(written)}
    return {
        "id": f"mini-{_rank(prompt, seed)}",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": written},
                "finish_reason": "stop" if written == text else "length",
            }
        ],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


def chunks(answer: Mapping[str, Any], *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """The completion as a stream of `chat.completion.chunk`, a few characters each."""
    head = {**answer, "object": "chat.completion.chunk"}
    usage = head.pop("usage")
    (choice,) = answer["choices"]
    text = choice["message"]["content"]
    deltas = [{"content": text[start : start + 8]} for start in range(0, len(text), 8)]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if with_usage:
        yield {**head, "choices": [], "usage": usage}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    knowledge: Knowledge

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._send(404, {"error": {"message": f"{self.path}: not found"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path != "/v1/chat/completions":
                raise RequestError(404, f"{self.path}: not found")
            request = json.loads(body)
            answer = completion(self.knowledge, request)
        except RequestError as error:
            self._send(error.status, {"error": {"message": str(error)}})
        except ValueError as error:
            self._send(400, {"error": {"message": f"the request is no JSON: {error}"}})
        else:
            if request.get("stream"):
                self._stream(
                    chunks(answer, with_usage=bool((request.get("stream_options") or {}).get("include_usage")))
                )
            else:
                self._send(200, answer)

    def log_message(self, *_: Any) -> None:
        """A line for each of thousands of requests helps nobody."""

    def _send(self, status: int, content: Mapping[str, Any]) -> None:
        self._send_body(status, "application/json", json.dumps(content).encode())

    def _stream(self, events: Iterator[dict[str, Any]]) -> None:
        """All events at once: the teacher thinks fast."""
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        self._send_body(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

    def _send_body(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


@contextmanager
def serving(seed: int = SEED, wrong: float = WRONG, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The URL of a teacher that answers, from a thread of this process, as long as the context lasts.

    It takes a free port where none is given. Raises OSError where it cannot listen there.
    """
    handler = type("_HandlerWithKnowledge", (_Handler,), {"knowledge": Knowledge(make_domains(seed), wrong)})
    with _Server((host, port), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{listening.server_port}/v1"
        finally:
            listening.shutdown()
            thread.join()


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one; default 8765")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default 127.0.0.1")
    parser.add_argument("--seed", type=int, default=SEED, help=f"that make.py was given; default {SEED}")
    parser.add_argument("--wrong", type=float, default=WRONG, help=f"share of wrong answers; default {WRONG}")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="runs with the teacher at hand, which ends with it")
    arguments = parser.parse_args()
    try:
        with serving(arguments.seed, arguments.wrong, arguments.host, arguments.port) as endpoint:
            print(endpoint, flush=True)
            return run(arguments.command) if arguments.command else wait()
    except (ValueError, OSError, OverflowError) as error:
        print(f"teacher.py: {error}", file=sys.stderr)
        return 64


def wait() -> int:
    """Until somebody ends it."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    return 0


def run(command: Sequence[str]) -> int:
    """The exit code of a command. Whatever ends this process ends the command first."""
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        signal.signal(signal.SIGINT, lambda *_: None)  # a terminal tells the command itself
        code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

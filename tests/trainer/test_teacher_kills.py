"""A process that asks a teacher is killed, stopped, or fails: what it has is kept, and its key stays with it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asking
from asking import ask_all, teacher
from branchmerge.api.stage import ExitCode
from branchmerge_trainer.curate.teacher.keys import Key
from branchmerge_trainer.curate.teacher.log import AnswerLog
from branchmerge_trainer.failures import TransientError
from modelendpoint import ModelEndpoint, Reaction, event, fails, hangs, hangs_up, model_endpoint, says, streams

KEY = "sk-secret-0123456789"
PROMPTS = [str(number) for number in range(150)]
CONCURRENCY = 8


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with model_endpoint(lambda received: says(f"to {received.prompt}", "hm", seconds=0.05)) as endpoint:
        yield endpoint


def start(
    endpoint: ModelEndpoint, folder: Path, prompts: list[str] = PROMPTS, **settings: Any
) -> subprocess.Popen[str]:
    """A process that asks all prompts."""
    settings = {"sampling": {"samples": 2}, "limits": {"concurrency": CONCURRENCY}, **settings}
    order = {
        "prompts": prompts,
        "folder": str(folder),
        "teacher": teacher(endpoint.url, **settings).model_dump(mode="json", by_alias=True),
    }
    environment = os.environ | {
        "BRANCHMERGE_TEACHER_API_KEY": KEY,
        "BRANCHMERGE_TERMINATION_LOG": str(folder.parent / "outcome.json"),
        "OPENAI_LOG": "debug",
    }
    process = subprocess.Popen(
        [sys.executable, asking.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    process.stdin = None
    return process


def wait_until_asked(endpoint: ModelEndpoint, count: int) -> None:
    end = time.monotonic() + 60
    while len(endpoint.received) < count:
        assert time.monotonic() < end, "the process asks nothing"
        time.sleep(0.005)


def test_after_kills_nothing_is_asked_again_that_was_answered(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    """Killed at random moments. What was in flight may be asked again: as many as may be in flight, a kill."""
    rng = random.Random(5)
    kills = 4
    for _ in range(kills):
        process = start(endpoint, tmp_path / "answers")
        wait_until_asked(endpoint, len(endpoint.received) + rng.randrange(10, 60))
        process.kill()
        process.communicate()
        with AnswerLog(tmp_path / "answers") as log:
            had = len(log)
        assert had >= len({received.key for received in endpoint.received}) - CONCURRENCY

    output, _ = start(endpoint, tmp_path / "answers").communicate(timeout=120)

    assert json.loads(output)["texts"] == [f"<think>\nhm\n</think>\n\nto {prompt}" for prompt in PROMPTS for _ in "12"]
    asked = Counter(received.key for received in endpoint.received)
    assert len(asked) == 2 * len(PROMPTS)
    assert sum(asked.values()) - len(asked) <= kills * CONCURRENCY


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_seconds_and_keeps_what_came(
    endpoint: ModelEndpoint, tmp_path: Path, number: signal.Signals
) -> None:
    endpoint.react = lambda received: hangs(60, keep_alive=True) if received.prompt == "0" else says("4")
    process = start(endpoint, tmp_path / "answers", PROMPTS[:20])
    wait_until_asked(endpoint, 40)
    time.sleep(0.3)

    begin = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert time.monotonic() - begin < 5
    assert process.returncode == 143, errors
    with AnswerLog(tmp_path / "answers") as log:
        assert len(log) == 38


def test_two_processes_never_write_to_one_log(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    with AnswerLog(tmp_path), pytest.raises(TransientError, match="another attempt is still writing"):
        ask_all(["1"], teacher(endpoint.url), tmp_path)
    assert len(ask_all(["1"], teacher(endpoint.url), tmp_path).texts) == 1


ECHOED: list[Reaction] = [
    says("4"),
    fails(500, f"no luck with Bearer {KEY}", retry_after_ms="10"),
    fails(400, f"your key {KEY} is fine, but not your prompt"),
    hangs_up(),
]
BROKEN = [
    streams(event(choices=KEY)),
    *(streams(b"data: " + b"x" * at + KEY.encode() + b"\n") for at in range(0, 320, 9)),
]


@pytest.mark.parametrize(
    ("reactions", "code"),
    [
        pytest.param(ECHOED, ExitCode.DONE, id="answers and faults"),
        pytest.param([each for fault in BROKEN for each in (fault, says("4"))], ExitCode.DONE, id="broken answers"),
        pytest.param([fails(401, f"Incorrect API key provided: {KEY}")], ExitCode.INPUT, id="a wrong key"),
        pytest.param([fails(500, f"Bearer {KEY}", retry_after_ms="10")], ExitCode.TRANSIENT, id="an outage"),
    ],
)
def test_the_key_is_nowhere(endpoint: ModelEndpoint, tmp_path: Path, reactions: list[Reaction], code: ExitCode) -> None:
    """In no file, and in nothing that is printed: even where the endpoint repeats it and the client logs all it can."""
    endpoint.react = lambda received: reactions[int(received.prompt) % len(reactions)]
    process = start(endpoint, tmp_path / "answers", PROMPTS[: max(20, len(reactions))], retries=0)
    output, errors = process.communicate(timeout=60)

    assert all(received.headers["authorization"] == f"Bearer {KEY}" for received in endpoint.received)
    assert process.returncode == code, errors
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for said in (output, errors, *(path.read_text() for path in files)):
        assert KEY[:8] not in said, "not even a part of it"


def test_the_log_says_what_was_asked_and_what_came(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    prices = {"inputPerMillion": "0.55", "outputPerMillion": "2.19", "currency": "EUR"}
    outcome = ask_all(["1+1="], teacher(endpoint.url, prices=prices), tmp_path)

    with AnswerLog(tmp_path) as log:
        entry = log[next(key for key in keys_of(tmp_path) if key in log)]
    assert (entry.answer, entry.reasoning, entry.finish_reason) == ("to 1+1=", "hm", "stop")
    assert (entry.usage.prompt_tokens, entry.usage.completion_tokens) == (10, 20)
    assert (entry.cost, entry.currency, entry.model) == ("0.0000493", "EUR", "teacher-1")
    assert entry.seed == endpoint.received[0].body["seed"] == outcome.answers[0][0].seed


def keys_of(folder: Path) -> Iterator[Key]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            yield Key(fields["prompt"], fields["sample"])

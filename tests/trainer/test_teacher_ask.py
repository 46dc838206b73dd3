"""Asking a teacher: an endpoint that answers, and one that does all that endpoints do instead."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from asking import Outcome, ask_all, prompt, teacher
from branchmerge.api.errors import InputError
from branchmerge.api.stage import Progress
from branchmerge_trainer.curate.teacher import health
from branchmerge_trainer.curate.teacher.ask import ask
from branchmerge_trainer.curate.teacher.asker import Standing
from branchmerge_trainer.curate.teacher.reply import Usage
from branchmerge_trainer.curate.teacher.session import to_progress
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.progress import ProgressReporter
from modelendpoint import (
    ModelEndpoint,
    Reaction,
    Received,
    event,
    fails,
    hangs,
    hangs_up,
    model_endpoint,
    piece,
    says,
    says_at_once,
    sends,
    streams,
)

SOON = {"retry_after_ms": "10"}
KEY = "sk-secret-0123456789"


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with model_endpoint(lambda received: says(f"answer to {received.prompt}")) as endpoint:
        yield endpoint


def test_answers_come_in_the_order_of_the_prompts_with_all_samples_of_one_together(
    endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.react = lambda received: says(f"to {received.prompt}", seconds=0.3 if received.prompt == "0" else 0.0)
    prompts = [str(number) for number in range(40)]

    outcome = ask_all(prompts, teacher(endpoint.url, sampling={"samples": 3}), tmp_path)

    assert [[answer.prompt.row for answer in answers] for answers in outcome.answers] == [[n] * 3 for n in range(1, 41)]
    assert [[answer.sample for answer in answers] for answers in outcome.answers] == [[0, 1, 2]] * 40
    assert outcome.texts[::3] == [f"to {number}" for number in range(40)]
    assert len({received.body["seed"] for received in endpoint.received}) == 120, "each sample has a seed of its own"
    assert not outcome.dropped


def test_what_is_asked_says_how_to_draw(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    settings = {"temperature": 0.5, "topP": 0.9, "maxTokens": 77, "seed": 7}

    for folder in ("one", "two"):
        ask_all(["1+1="], teacher(endpoint.url, sampling=settings, systemPrompt="Think."), tmp_path / folder, KEY)

    first, second = endpoint.received
    assert first.body == second.body, "the same seeds, too"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert {name: first.body[name] for name in ("model", "temperature", "top_p", "max_tokens", "stream")} == {
        "model": "teacher-1",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 77,
        "stream": True,
    }
    assert first.body["messages"] == [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1="}]
    row = ask_all(["1+1="], teacher(endpoint.url), tmp_path / "one").answers[0][0].candidate()
    assert [message["role"] for message in row.messages] == ["user", "assistant"], (
        "the system prompt is no part of rows"
    )


def test_no_key_of_the_environment_reaches_an_endpoint_without_one(
    endpoint: ModelEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)

    ask_all(["1+1="], teacher(endpoint.url), tmp_path)

    assert KEY not in str(endpoint.received[0].headers)
    assert "authorization" not in {name.lower() for name in endpoint.received[0].headers}


@pytest.mark.parametrize(
    ("reaction", "text"),
    [
        pytest.param(says("4", "2,2"), "<think>\n2,2\n</think>\n\n4", id="a trace of its own, as vLLM and DeepSeek do"),
        pytest.param(says("4", "2,2", field="reasoning"), "<think>\n2,2\n</think>\n\n4", id="newer vLLM's name"),
        pytest.param(says("<think>2,2</think>4"), "<think>2,2</think>4", id="a trace within the content"),
        pytest.param(says("2,2</think>4"), "<think>\n2,2</think>4", id="a trace that the chat template opened"),
        pytest.param(says("4"), "4", id="no trace"),
        pytest.param(says("4", usage=None), "4", id="an endpoint that counts no tokens"),
        pytest.param(says("4", keep_alive=True), "4", id="comments between events"),
        pytest.param(says("a\u2028b\u0085c \U0001f600"), "a\u2028b\u0085c \U0001f600", id="line ends of Unicode"),
        pytest.param(says_at_once("4", "2,2"), "<think>\n2,2\n</think>\n\n4", id="an endpoint that does not stream"),
        pytest.param(
            streams(
                piece(content="\ud83d"), piece(content="\ude00 \ud83d"), event(choices=[{"finish_reason": "stop"}])
            ),
            "\U0001f600 \ufffd",
            id="a character in two halves, and half of one",
        ),
    ],
)
def test_an_answer_is_put_together_with_its_trace(
    endpoint: ModelEndpoint, tmp_path: Path, reaction: Reaction, text: str
) -> None:
    endpoint.react = lambda _: reaction
    outcome = ask_all(["2+2="], teacher(endpoint.url), tmp_path)
    assert outcome.texts == [text]
    assert outcome.answers[0][0].usage.completion_tokens > 0


HALF = "\ud83d"
"""Of a character: JSON can say it, no file can hold it."""


def document(**more: object) -> bytes:
    choice = {"message": {"content": "4"}, "finish_reason": more.pop("finish_reason", "stop")}
    return json.dumps({"choices": [choice], **more}).encode()


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param('{"prompt_tokens": Infinity}', id="infinite"),
        pytest.param('{"prompt_tokens": 10, "completion_tokens": 1e999}', id="too large a float"),
        pytest.param('{"prompt_tokens": 1%s}' % ("0" * 400), id="too large a number"),
        pytest.param('{"prompt_tokens": NaN, "completion_tokens": 2}', id="not a number"),
        pytest.param('{"prompt_tokens": -1000000, "completion_tokens": -5}', id="below zero"),
    ],
)
def test_numbers_that_count_no_tokens_are_not_believed(endpoint: ModelEndpoint, tmp_path: Path, usage: str) -> None:
    endpoint.react = lambda _: sends(document(usage=0).replace(b'"usage": 0', f'"usage": {usage}'.encode()))
    outcome = ask_all(["2+2="], teacher(endpoint.url), tmp_path)
    assert outcome.texts == ["4"]
    assert outcome.standings[-1].spent == Usage(9, 1), "the estimate"


@pytest.mark.parametrize(
    ("reaction", "told"),
    [
        pytest.param(sends(document(model=HALF)), "4", id="model"),
        pytest.param(sends(document(finish_reason=HALF)), "4", id="finish_reason"),
        pytest.param(sends(json.dumps({"error": HALF}).encode()), "\ufffd", id="an error that is text"),
        pytest.param(streams(event(error={"message": HALF})), "ud83d", id="an error within the stream"),
        pytest.param(fails(400, HALF), "HTTP 400: \ufffd", id="400"),
        pytest.param(fails(500, HALF, **SOON), "HTTP 500: \ufffd", id="500"),
    ],
)
def test_half_a_character_can_be_anywhere(
    endpoint: ModelEndpoint, tmp_path: Path, reaction: Reaction, told: str
) -> None:
    endpoint.react = lambda received: says("4") if received.prompt == "good" else reaction
    outcome = ask_all(["good", "bad"], teacher(endpoint.url, retries=0), tmp_path)
    assert told in " ".join([*outcome.texts[1:], *(detail for _, _, detail in outcome.dropped)])
    (tmp_path / "answers-00000.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fails(429, **SOON), id="429 that says when to come back"),
        pytest.param(fails(429), id="429 that does not"),
        pytest.param(fails(500), id="500"),
        pytest.param(fails(503, retry_after="0"), id="503"),
        pytest.param(fails(408), id="408"),
        pytest.param(sends(b"<html>Bad gateway</html>", 502), id="502 of a proxy"),
        pytest.param(hangs(30), id="hangs"),
        pytest.param(hangs(30, keep_alive=True), id="hangs, but keeps the connection alive"),
        pytest.param(hangs_up(), id="hangs up"),
        pytest.param(streams(piece(content="The"), ends=False), id="cuts the connection within the answer"),
        pytest.param(streams(piece(content="The")), id="ends the stream within the answer"),
        pytest.param(streams(), id="an empty stream"),
        pytest.param(streams(b"data: {'choices'\n\n"), id="malformed JSON"),
        pytest.param(streams(event(choices="none")), id="wrong schema: choices"),
        pytest.param(streams(event(choices=[{"delta": {"content": 4}}])), id="wrong schema: content"),
        pytest.param(streams(b"data: 4\n\n"), id="wrong schema: no object"),
        pytest.param(streams(event(error={"message": "out of memory", "code": 500})), id="an error within the stream"),
        pytest.param(streams(event(choices=[{"finish_reason": "abort"}])), id="an answer that was aborted"),
        pytest.param(sends(b"{", content_type="application/json"), id="malformed JSON, not streamed"),
        pytest.param(sends(b"[]", content_type="application/json"), id="wrong schema, not streamed"),
        pytest.param(sends(b"<html>Welcome</html>", content_type="text/html"), id="something else"),
    ],
)
def test_what_fails_for_now_is_asked_again(endpoint: ModelEndpoint, tmp_path: Path, fault: Reaction) -> None:
    endpoint.react = lambda received: says("4") if received.nth == 2 else fault

    outcome = ask_all(["2+2="], teacher(endpoint.url, requestTimeoutSeconds=1), tmp_path)

    assert outcome.texts == ["4"]
    assert len(endpoint.received) == 2


@pytest.mark.parametrize(
    ("reaction", "reason"),
    [
        pytest.param(fails(500, **SOON), "teacher: server error", id="500 each time"),
        pytest.param(fails(429, **SOON), "teacher: rate limited", id="429 each time"),
        pytest.param(streams(piece(content="The")), "teacher: cut off", id="cut off each time"),
        pytest.param(hangs_up(), "teacher: connection lost", id="no connection each time"),
        pytest.param(fails(400, "maximum context length is 8192"), "teacher: refused", id="too long a prompt"),
        pytest.param(says("The", finish_reason="length"), "teacher: truncated", id="longer than maxTokens"),
        pytest.param(says("", finish_reason="content_filter"), "teacher: filtered", id="filtered"),
        pytest.param(says("", "I think"), "teacher: empty answer", id="nothing after the trace"),
    ],
)
def test_every_prompt_without_an_answer_is_counted_by_its_reason(
    endpoint: ModelEndpoint, tmp_path: Path, reaction: Reaction, reason: str
) -> None:
    endpoint.react = lambda received: reaction if received.prompt == "bad" else says("4")

    outcome = ask_all(["good", "bad", "fine"], teacher(endpoint.url, retries=1), tmp_path)

    assert outcome.texts == ["4", "4"]
    assert outcome.reasons == {reason: 1}
    assert outcome.dropped[0][1].row == 2
    assert outcome.dropped[0][2], "a detail"
    assert outcome.standings[-1].answered + outcome.standings[-1].failed == 3


FAULTS: list[Reaction] = [
    fails(429, **SOON),
    fails(500, **SOON),
    hangs_up(),
    streams(piece(content="The"), ends=False),
    streams(b"data: {\n\n"),
    streams(event(choices=4)),
    hangs(30),
]


def test_with_every_fault_at_once_each_prompt_is_answered_or_counted(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    """Of 70 prompts, each meets a fault; one in seven meets it at every try."""

    def react(received: Received) -> Reaction:
        number = int(received.prompt)
        faulty = received.nth == 1 or number % 7 == number // 10
        return FAULTS[number % 7] if faulty else says(received.prompt)

    endpoint.react = react
    bad = [number for number in range(70) if number % 7 == number // 10]

    outcome = ask_all(map(str, range(70)), teacher(endpoint.url, requestTimeoutSeconds=1, retries=1), tmp_path)

    assert outcome.texts == [str(number) for number in range(70) if number not in bad]
    assert [dropped.row - 1 for _, dropped, _ in outcome.dropped] == bad
    assert len(bad) == 10

    endpoint.react = lambda received: says(received.prompt)
    endpoint.received.clear()
    again = ask_all(map(str, range(70)), teacher(endpoint.url), tmp_path)
    assert sorted(map(int, endpoint.prompts)) == bad, "only what had no answer is asked again"
    assert again.texts == [str(number) for number in range(70)]


def test_equal_prompts_are_asked_once(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    outcome = ask_all(["same"] * 20, teacher(endpoint.url, sampling={"samples": 2}), tmp_path)
    assert len(outcome.texts) == 40
    assert len(endpoint.received) == 2


def test_more_samples_cost_only_those(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    ask_all(["a", "b"], teacher(endpoint.url), tmp_path)
    outcome = ask_all(["a", "b"], teacher(endpoint.url, sampling={"samples": 3}), tmp_path)
    assert len(outcome.texts) == 6
    assert len(endpoint.received) == 6


def test_no_more_requests_are_in_flight_than_allowed(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda _: says("4", seconds=0.02)
    ask_all(map(str, range(60)), teacher(endpoint.url, limits={"concurrency": 5}), tmp_path)
    assert endpoint.most_at_once == 5


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        pytest.param({"requestsPerMinute": 600}, 1.0, id="requests: the first 10 at once, then 10 a second"),
        pytest.param({"tokensPerMinute": 18_000}, 0.9, id="tokens: 20 answers of 28, 300 a second"),
    ],
)
def test_no_more_is_asked_a_minute_than_allowed(
    endpoint: ModelEndpoint, tmp_path: Path, limits: dict[str, int], seconds: float
) -> None:
    settings = teacher(endpoint.url, limits=limits, sampling={"maxTokens": 20})
    begin = time.monotonic()
    ask_all(map(str, range(20)), settings, tmp_path)
    assert endpoint.received[-1].at - begin >= 0.95 * seconds


def test_an_endpoint_that_asks_for_a_pause_gets_it_from_all(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    def react(received: Received) -> Reaction:
        if received.prompt == "0" and received.nth == 1:
            return fails(429, retry_after="1")
        return says("4", seconds=0.5)

    endpoint.react = react
    outcome = ask_all("012", teacher(endpoint.url, limits={"concurrency": 2}), tmp_path)
    assert len(outcome.texts) == 3
    refused = next(received.at for received in endpoint.received if received.prompt == "0")
    assert all(received.at >= refused + 1.0 for received in endpoint.received[2:])
    assert len(endpoint.received) == 4


def spent(endpoint: ModelEndpoint, prompts: int = 40) -> Callable[..., Outcome]:
    def run(folder: Path, **limits: object) -> Outcome:
        prices = {"inputPerMillion": "100000", "outputPerMillion": "200000"}
        settings = teacher(endpoint.url, limits=limits, prices=prices, sampling={"maxTokens": 20})
        return ask_all(map(str, range(prompts)), settings, folder)

    return run


@pytest.mark.parametrize(
    ("limits", "answers"),
    [
        pytest.param({"maxTokens": 300}, 10, id="tokens"),
        pytest.param({"maxCost": {"amount": "50"}}, 10, id="money: 5 an answer"),
        pytest.param({"maxTokens": 15}, 1, id="less than one answer"),
        pytest.param({"maxTokens": 3000, "maxCost": {"amount": "5"}}, 1, id="whichever comes first"),
    ],
)
def test_nothing_more_is_asked_once_the_budget_is_spent(
    endpoint: ModelEndpoint, tmp_path: Path, limits: dict[str, object], answers: int
) -> None:
    """Prompts are estimated at 8 tokens and have 10."""
    run = spent(endpoint)

    outcome = run(tmp_path, **limits)

    assert answers - 1 <= len(outcome.texts) <= answers
    assert outcome.reasons == {"teacher: budget spent": 40 - len(outcome.texts)}
    assert outcome.standings[-1].cost == 5 * len(outcome.texts)
    asked = len(endpoint.received)
    again = run(tmp_path, **limits)
    assert again.texts[:asked] == outcome.texts
    assert len(endpoint.received) <= answers, "what an earlier attempt has spent is spent"


def test_what_a_cut_answer_has_cost_counts(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    cut = streams(piece(content="x" * 3000))
    endpoint.react = lambda received: says("4") if received.prompt == "good" else cut
    settings = teacher(endpoint.url, retries=0, limits={"maxTokens": 1000, "concurrency": 1})
    outcome = ask_all(["good", "bad", "late"], settings, tmp_path)
    assert outcome.reasons == {"teacher: cut off": 1, "teacher: budget spent": 1}
    assert outcome.standings[-1].spent.completion_tokens == 20 + 1000, "three characters are taken for a token"


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        pytest.param(
            fails(401, f"bad key {KEY}"),
            "spec.teacher.apiKeySecretRef: teachers/api-key: {url} answers HTTP 401: bad key ***: put a key there that "
            "may use teacher-1",
            id="wrong key",
        ),
        pytest.param(
            fails(404, "no such model"),
            "spec.teacher.model: 'teacher-1': {url} answers HTTP 404: no such model: correct the model's name, or "
            "spec.teacher.endpoint",
            id="wrong model",
        ),
        pytest.param(
            fails(400, "max_tokens is too large"),
            "spec.teacher: {url} refuses all that it is asked (HTTP 400: max_tokens is too large): give it what it "
            "takes: see spec.teacher.model, the limits on tokens, and the prompts",
            id="nothing is accepted",
        ),
    ],
)
def test_a_wrong_configuration_ends_all_with_one_message(
    endpoint: ModelEndpoint, tmp_path: Path, reaction: Reaction, message: str
) -> None:
    endpoint.react = lambda _: reaction
    secret = {"name": "teachers", "key": "api-key"}
    with pytest.raises(InputError) as caught:
        ask_all(map(str, range(200)), teacher(endpoint.url, apiKeySecretRef=secret), tmp_path, KEY)
    assert str(caught.value) == message.format(url=endpoint.url)


def test_an_endpoint_that_wants_a_key_is_told_apart_from_one_that_got_a_wrong_one(
    endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.react = lambda _: fails(401, "who are you?")
    with pytest.raises(InputError, match=r"apiKeySecretRef: none, but .*: name the secret that holds the key"):
        ask_all(["1"], teacher(endpoint.url), tmp_path)


def test_an_endpoint_that_is_down_is_tried_again_later(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda received: says("4") if int(received.prompt) < 5 else fails(500, **SOON)
    settings = teacher(endpoint.url, retries=1, limits={"concurrency": 4})
    with pytest.raises(TransientError, match=r"has not answered the last 10 requests, each tried 2 times \(server err"):
        ask_all(map(str, range(200)), settings, tmp_path)
    assert len(endpoint.received) < 60

    endpoint.react = lambda _: says("4")
    assert len(ask_all(map(str, range(200)), settings, tmp_path).texts) == 200


def test_prompts_that_fail_are_no_outage_when_they_are_the_last(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda received: fails(500, **SOON) if int(received.prompt) % 3 == 0 else says("4")
    settings = teacher(endpoint.url, retries=2, limits={"concurrency": 15})
    outcome = ask_all(map(str, range(45)), settings, tmp_path)
    assert outcome.reasons == {"teacher: server error": 15}


def test_an_endpoint_that_answers_nothing_is_no_fault_of_few_prompts(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda _: fails(500, **SOON)
    with pytest.raises(TransientError, match="has not answered the last 2 requests"):
        ask_all(["1", "2"], teacher(endpoint.url, retries=0), tmp_path)


def test_an_address_where_nobody_listens_is_named(tmp_path: Path) -> None:
    with model_endpoint(lambda _: says("4")) as gone:
        settings = teacher(gone.url, retries=0)
    with pytest.raises(
        TransientError, match=rf"spec.teacher.endpoint: {gone.url} has not .*connection refused: ConnectErr"
    ):
        ask_all(["1"], settings, tmp_path)


@pytest.mark.parametrize(
    ("host", "fault"),
    [
        pytest.param("localhost", "connection refused", id="nobody listens at any of its addresses"),
        pytest.param("nowhere.invalid", "unknown host", id="nobody knows it"),
    ],
)
def test_an_endpoint_that_nobody_reaches_is_named_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, fault: str
) -> None:
    monkeypatch.setattr(health, "_QUIET_SECONDS", 0.2)
    monkeypatch.setattr(health, "_UNCONNECTED_SECONDS", 2.0)
    with model_endpoint(lambda _: says("4")) as gone:
        settings = teacher(gone.url.replace("127.0.0.1", host), retries=50)
    progress = ProgressReporter([])
    phases = set()
    told = to_progress(progress, "asking the teacher", 2)

    def report(standing: Standing) -> None:
        told(standing)
        phases.add((progress.latest.phase, progress.latest.step))

    with pytest.raises(TransientError, match=rf"spec.teacher.endpoint: http://{host}.*: not one .* 2 s \({fault}: "):
        list(ask(map(prompt, "12"), settings, tmp_path, None, report, Outcome().drop))
    assert phases == {("asking the teacher", 0), (f"asking the teacher ({fault})", 0)}


def test_trouble_is_over_with_an_answer(
    endpoint: ModelEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_QUIET_SECONDS", 0.1)
    monkeypatch.setattr(health, "_UNCONNECTED_SECONDS", 0.1)
    endpoint.react = lambda received: says("4") if received.nth == 2 else fails(503)
    standings = ask_all(["1"], teacher(endpoint.url), tmp_path).standings
    troubles = [each.trouble for each in standings]
    assert "server error" in troubles
    assert troubles[-1] is None


def test_progress_is_told_while_an_answer_is_waited_for(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda received: says(received.prompt, seconds=1.5 if received.prompt == "0" else 0.0)
    progress = ProgressReporter([])
    seen: list[Progress] = []
    told = to_progress(progress, "asking the teacher", 10)

    def report(standing: Standing) -> None:
        told(standing)
        seen.append(progress.latest)

    list(ask(map(prompt, map(str, range(10))), teacher(endpoint.url), tmp_path, None, report, Outcome().drop))

    assert [(each.phase, each.steps) for each in seen] == [("asking the teacher", 10)] * len(seen)
    assert {9, 10} <= {each.step for each in seen}, "nine are done while the first is waited for"
    assert seen[-1].step == 10
    assert max(each.tokens_per_second or 0 for each in seen) > 100


def test_prompts_are_read_as_they_are_asked(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    read: list[int] = []

    def prompts() -> Iterator[str]:
        for number in range(100_000):
            read.append(number)
            yield str(number)

    outcome = Outcome()
    rows = (prompt(text, row) for row, text in enumerate(prompts(), start=1))
    answers = ask(rows, teacher(endpoint.url), tmp_path, None, outcome.standings.append, outcome.drop)
    first = [each[0].prompt.row for each in islice(answers, 3)]
    answers.close()  # type: ignore[attr-defined]
    assert first == [1, 2, 3]
    assert len(read) < 5_000


def test_who_needs_no_more_answers_leaves_at_once(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    endpoint.react = lambda received: says("4") if received.prompt == "1" else hangs(60, keep_alive=True)
    outcome = Outcome()
    answers = ask(map(prompt, "123"), teacher(endpoint.url), tmp_path, None, outcome.standings.append, outcome.drop)
    assert next(answers)[0].text == "4"
    start = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 3
    lines = (tmp_path / "answers-00000.jsonl").read_text().splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["4"]

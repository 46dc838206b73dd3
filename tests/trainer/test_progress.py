"""Progress: rates, ETA, the file of a local run, and Kubeflow's trainer-status protocol against a real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.stage import Progress
from branchmerge_trainer import progress as module
from branchmerge_trainer.progress import FileSink, KubeflowSink, ProgressReporter, sinks_from_env, trainer_status


class FakeTime:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(module.time, "monotonic", fake.monotonic)
    return fake


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str | None, Any]]]]:
    """A server of the protocol; yields its URL and the requests it got, as (authorization, body)."""
    requests: list[tuple[str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/status", requests
    http.shutdown()
    http.server_close()
    thread.join()


def test_rate_and_eta_come_from_this_attempt_only(clock: FakeTime) -> None:
    reporter = ProgressReporter([])
    reporter.phase("training", step=100, steps=200)  # resumed from a checkpoint at 100
    for step in range(101, 111):
        clock.now += 2
        reporter.advance(step, tokens=600, loss=0.5)

    latest = reporter.latest

    assert latest.tokens_per_second == pytest.approx(300)
    assert latest.eta_seconds == pytest.approx(90 * 2)
    assert latest.loss == 0.5


def test_what_is_done_stays_done_in_a_phase_without_steps() -> None:
    reporter = ProgressReporter([])
    reporter.phase("training", step=0, steps=2)
    reporter.advance(2)

    reporter.phase("saving")

    assert (reporter.latest.phase, reporter.latest.step, reporter.latest.steps) == ("saving", 2, 2)
    assert reporter.latest.eta_seconds is None


def test_there_is_no_eta_before_the_second_step(clock: FakeTime) -> None:
    reporter = ProgressReporter([])
    reporter.phase("training", step=0, steps=10)
    assert reporter.latest.eta_seconds is None


def test_a_file_has_always_a_whole_report(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    reporter = ProgressReporter([FileSink(path)])

    reporter.phase("loading model")

    assert Progress.model_validate_json(path.read_bytes()).phase == "loading model"
    assert [entry.name for entry in tmp_path.iterdir()] == ["progress.json"]


def test_steps_are_reported_at_the_pace_of_the_sink(tmp_path: Path, clock: FakeTime) -> None:
    path = tmp_path / "progress.json"
    reporter = ProgressReporter([FileSink(path)])
    reporter.phase("training", step=0, steps=10)
    clock.now += 0.1
    reporter.advance(1)
    assert Progress.model_validate_json(path.read_bytes()).step == 0

    clock.now += 1
    reporter.advance(2)

    assert Progress.model_validate_json(path.read_bytes()).step == 2


def test_a_file_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    reporter = ProgressReporter([FileSink(tmp_path / "none" / "progress.json")])
    reporter.phase("training", step=0, steps=10)
    reporter.advance(1)
    assert reporter.latest.step == 1


def test_the_body_is_the_one_of_the_protocol() -> None:
    progress = Progress(phase="training", step=5, steps=20, loss=0.25, tokens_per_second=99.5, eta_seconds=12.7)

    status = trainer_status(progress)

    assert status["progressPercentage"] == 25
    assert status["estimatedRemainingSeconds"] == 12
    assert {"name": "loss", "value": "0.25"} in status["metrics"]
    assert {"name": "tokens_per_second", "value": "99.5"} in status["metrics"]
    assert {"name": "current_step", "value": "5"} in status["metrics"]
    assert "lastUpdatedTime" in status


def test_reports_are_posted_with_the_token_of_the_pod(
    tmp_path: Path, server: tuple[str, list[tuple[str | None, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests = server
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", url)
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))
    [sink] = sinks_from_env()

    sink.send(Progress(phase="training", step=1, steps=4))

    deadline = time.monotonic() + 5
    while not requests and time.monotonic() < deadline:
        time.sleep(0.01)
    [(authorization, body)] = requests
    assert authorization == "Bearer secret"
    assert body["trainerStatus"]["progressPercentage"] == 25


def test_a_server_that_is_away_fails_nothing() -> None:
    sink = KubeflowSink("http://127.0.0.1:9/status", ca_file=None, token_file=None)
    sink.send(Progress(phase="training"))
    assert sink._sending is not None
    sink._sending.join(timeout=10)
    assert not sink._sending.is_alive()

"""Tells whoever started the attempt how far it is: by a file (local run) or by Kubeflow's trainer-status protocol.

The protocol is the one of transformers' `KubeflowCallback`. Ours adds tokens a second, and an ETA that is right after a
resume. Reporting never fails an attempt.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from branchmerge.api.stage import PROGRESS_FILE_ENV, Progress
from branchmerge_trainer.workspace import write_atomic

_FILE_INTERVAL_SECONDS = 0.3
_HTTP_INTERVAL_SECONDS = 5.0
_RATE_WINDOW_SECONDS = 20.0
_TOKEN_LIFETIME_SECONDS = 300.0


class Sink(Protocol):
    """A place that progress is sent to."""

    interval_seconds: float

    def send(self, progress: Progress) -> None:
        """Send one report; may raise OSError, which is ignored."""


class FileSink:
    """A file that is replaced at each report."""

    interval_seconds = _FILE_INTERVAL_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, progress: Progress) -> None:
        """Replace the file."""
        write_atomic(self._path, progress.to_json().encode())


class KubeflowSink:
    """Kubeflow's trainer-status endpoint, posted to from a thread so that a slow server never slows a step."""

    interval_seconds = _HTTP_INTERVAL_SECONDS

    def __init__(self, url: str, ca_file: str | None, token_file: str | None) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self._token_file = token_file
        self._token = ""
        self._token_read_at = float("-inf")
        self._sending: threading.Thread | None = None

    def send(self, progress: Progress) -> None:
        """Post the report, unless the previous post is still under way."""
        if self._sending is not None and self._sending.is_alive():
            return
        self._sending = threading.Thread(target=self._post, args=(progress,), daemon=True)
        self._sending.start()

    def _post(self, progress: Progress) -> None:
        body = json.dumps({"trainerStatus": trainer_status(progress)}).encode()
        headers = {"Content-Type": "application/json"}
        if token := self._read_token():
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=5, context=self._context):  # noqa: S310
                pass
        except OSError:
            return  # progress is a courtesy; the next report says more

    def _read_token(self) -> str:
        if self._token_file and time.monotonic() - self._token_read_at > _TOKEN_LIFETIME_SECONDS:
            self._token = Path(self._token_file).read_text().strip()
            self._token_read_at = time.monotonic()
        return self._token


def trainer_status(progress: Progress) -> dict[str, Any]:
    """The body of Kubeflow's trainer-status protocol for a report."""
    status: dict[str, Any] = {"lastUpdatedTime": (progress.updated_at or datetime.now(UTC)).isoformat()}
    if progress.step is not None and progress.steps:
        status["progressPercentage"] = min(99, 100 * progress.step // progress.steps)
    if progress.eta_seconds is not None:
        status["estimatedRemainingSeconds"] = max(0, int(progress.eta_seconds))
    figures = {
        "phase": progress.phase,
        "current_step": progress.step,
        "total_steps": progress.steps,
        "loss": progress.loss,
        "tokens_per_second": progress.tokens_per_second,
    }
    status["metrics"] = [{"name": name, "value": str(value)} for name, value in figures.items() if value is not None]
    return status


def sinks_from_env() -> list[Sink]:
    """The places that the environment names; none is fine."""
    sinks: list[Sink] = []
    if path := os.environ.get(PROGRESS_FILE_ENV):
        sinks.append(FileSink(Path(path)))
    if url := os.environ.get("KUBEFLOW_TRAINER_SERVER_URL"):
        environ = os.environ.get
        sinks.append(
            KubeflowSink(url, environ("KUBEFLOW_TRAINER_SERVER_CA_CERT"), environ("KUBEFLOW_TRAINER_SERVER_TOKEN"))
        )
    return sinks


class ProgressReporter:
    """Collects figures of a stage and reports them to the sinks at their pace."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = {sink: float("-inf") for sink in sinks}
        self._phase = "starting"
        self._step: int | None = None
        self._steps: int | None = None
        self._loss: float | None = None
        self._tokens_per_second: float | None = None
        self._marks: list[tuple[float, int, float]] = []
        """(time, step, tokens so far) within the window that rates are taken over."""
        self._tokens = 0.0

    @property
    def latest(self) -> Progress:
        """The figures as they stand."""
        return Progress(
            phase=self._phase,
            step=self._step,
            steps=self._steps,
            loss=self._loss,
            tokens_per_second=self._tokens_per_second,
            eta_seconds=self._eta_seconds(),
            updated_at=datetime.now(UTC),
        )

    def phase(self, name: str, *, steps: int | None = None, step: int | None = None) -> None:
        """Begin something else, such as `loading model`; reported at once.

        Without figures it is a phase that has no steps of its own: those that are done stay done.
        """
        self._phase = name
        if step is not None:
            self._steps, self._step = steps, step
        self._marks = [] if step is None else [(time.monotonic(), step, self._tokens)]
        self._tokens_per_second = None
        self._send(force=True)

    def advance(self, step: int, *, tokens: int = 0, loss: float | None = None) -> None:
        """Report that `step` steps are done, `tokens` more tokens (over all ranks) than at the last call."""
        now = time.monotonic()
        self._step = step
        self._tokens += tokens
        self._loss = self._loss if loss is None else loss
        self._marks.append((now, step, self._tokens))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_WINDOW_SECONDS:
            self._marks.pop(0)
        first_time, _, first_tokens = self._marks[0]
        if now > first_time and self._tokens > first_tokens:
            self._tokens_per_second = (self._tokens - first_tokens) / (now - first_time)
        self._send(force=False)

    def _eta_seconds(self) -> float | None:
        if self._steps is None or self._step is None or len(self._marks) < 2:
            return None
        (first_time, first_step, _), (last_time, last_step, _) = self._marks[0], self._marks[-1]
        if last_step <= first_step:
            return None
        return (self._steps - self._step) * (last_time - first_time) / (last_step - first_step)

    def _send(self, *, force: bool) -> None:
        now = time.monotonic()
        for sink, last in self._sinks.items():
            if force or now - last >= sink.interval_seconds:
                self._sinks[sink] = now
                try:
                    sink.send(self.latest)
                except OSError:
                    continue  # progress is a courtesy; it never fails the work

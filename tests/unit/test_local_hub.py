"""Names of the Hub become commits; what the Hub refuses becomes one line. The Hub here is a server of a few lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar, Literal

import pytest

from branchmerge.api.errors import InputError
from branchmerge.local.hub import commit_of

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FIELD = "spec.student.model"


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does."""

    refused: ClassVar[dict[str, tuple[int, str]]] = {
        "/api/models/acme/none/revision/main": (401, "RepoNotFound"),
        "/api/models/acme/gated/revision/main": (403, "GatedRepo"),
        "/api/models/acme/model/revision/v9": (404, "RevisionNotFound"),
    }

    def do_GET(self) -> None:
        code, reason = self.refused.get(self.path, (200, ""))
        body = json.dumps({"id": "acme/model", "sha": COMMIT, "siblings": [], "private": False}).encode()
        self.send_response(code)
        if reason:
            self.send_header("X-Error-Code", reason)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield
        server.shutdown()


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_branch_is_resolved_to_its_commit(kind: Literal["model", "dataset"]) -> None:
    assert commit_of(kind, "acme/model", "main", FIELD) == COMMIT


@pytest.mark.parametrize(
    ("repo", "revision", "said"),
    [
        pytest.param("acme/none", "main", "'acme/none' is neither a path below this file's", id="no repo"),
        pytest.param("acme/gated", "main", "approved accounts only: ask for access", id="gated"),
        pytest.param("acme/model", "v9", "'acme/model' has no revision 'v9'", id="no such revision"),
        pytest.param("acme/-x..y", "main", "'acme/-x..y' is neither a path", id="no valid name"),
    ],
)
def test_what_the_hub_refuses_is_one_line(repo: str, revision: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        commit_of("model", repo, revision, FIELD)
    assert str(raised.value).startswith(f"{FIELD}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)

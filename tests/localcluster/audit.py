"""The audit log of an API server: who asked for what, and what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POD_NAME = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True)
class Request:
    """One request that the API server answered.

    Attributes:
        user: who asked.
        verb: of Kubernetes: get, list, watch, create, update, patch, delete…
        resource: what was asked for, such as `pods` or `pods/log`; empty for what is no resource, such as /healthz.
        namespace: where; empty for what has no namespace.
        name: of the object; empty where the request names none.
        code: the HTTP status of the answer.
        allowed: whether the user was authorized.
        pod: whose token the user showed, where it was a pod's.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    allowed: bool
    pod: str


@dataclass(frozen=True)
class AuditLog:
    """The log in a file to which an API server appends."""

    path: Path

    def position(self) -> int:
        """Where the log ends now, to read from there later."""
        return self.path.stat().st_size

    def requests(self, *, user: str = "", since: int = 0) -> list[Request]:
        """The requests that were answered after a position, of one user where one is named."""
        with self.path.open("rb") as file:
            file.seek(since)
            lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]  # the last one may be half-written yet
        found = (_request(json.loads(line)) for line in whole)
        return [request for request in found if user in {"", request.user}]


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    (pod,) = event["user"].get("extra", {}).get(POD_NAME, [""])
    return Request(
        user=event["user"].get("username", ""),  # of a request that came before the server knew whose it is
        verb=event["verb"],
        resource="/".join(target[part] for part in ("resource", "subresource") if part in target),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        allowed=event.get("annotations", {}).get("authorization.k8s.io/decision") != "forbid",
        pod=pod,
    )

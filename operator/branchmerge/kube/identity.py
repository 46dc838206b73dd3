"""Which pod a token belongs to, by the API server's own review. Answers are kept for a while."""

from __future__ import annotations

import hashlib
import time

from branchmerge.kube.cluster import Cluster, ClusterError, Kind
from branchmerge.kube.pods import PROGRESS_AUDIENCE

_TOKEN_REVIEWS = Kind("authentication.k8s.io/v1", "tokenreviews")
_KEPT_SECONDS = 60.0
_KEPT_TOKENS = 10_000
_POD_NAME = "authentication.kubernetes.io/pod-name"

PodKey = tuple[str, str]
"""(namespace, name)."""


class TokenReviewer:
    """Asks the API server once a minute for each token, so that posts of progress do not load it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[bytes, tuple[float, PodKey | None]] = {}

    async def pod_of(self, token: str) -> PodKey | None:
        """The pod that the token was made for; None where it is not valid, or nobody can tell now."""
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < _KEPT_SECONDS:
            return known[1]
        try:
            pod = await self._review(token)
        except ClusterError:
            return None
        if len(self._known) >= _KEPT_TOKENS:
            self._known.clear()
        self._known[key] = (time.monotonic(), pod)
        return pod

    async def _review(self, token: str) -> PodKey | None:
        spec = {"token": token, "audiences": [PROGRESS_AUDIENCE]}
        review = await self._cluster.create(_TOKEN_REVIEWS, "", {"spec": spec})
        status = review["status"]
        if not status.get("authenticated"):
            return None
        user = status["user"]
        names = user.get("extra", {}).get(_POD_NAME, [])
        parts = user["username"].split(":")  # system:serviceaccount:<namespace>:<name>
        return (parts[2], names[0]) if len(names) == 1 and parts[:2] == ["system", "serviceaccount"] else None

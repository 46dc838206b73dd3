"""The operator's HTTP server: health, metrics, and progress that stages post."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from branchmerge.kube.reporting import ProgressBoard

Authenticate = Callable[[str], Awaitable[tuple[str, str] | None]]
"""Bearer token -> (namespace, pod), or None where it is not valid."""
ChildOf = Callable[[str, str], str | None]
"""(namespace, pod) -> name of the child that it belongs to."""

logger = logging.getLogger(__name__)


class Server:
    """Serves until it is closed."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        live: Callable[[], str | None],
        ready: Callable[[], str | None],
        board: ProgressBoard,
        authenticate: Authenticate,
        child_of: ChildOf,
        on_progress: Callable[[str, str], None],
    ) -> None:
        self._registry = registry
        self._live = live
        self._ready = ready
        self._board = board
        self._authenticate = authenticate
        self._child_of = child_of
        self._on_progress = on_progress
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        """Listen on all addresses."""
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes(
            [
                web.get("/healthz", self._health(self._live)),
                web.get("/readyz", self._health(self._ready)),
                web.get("/metrics", self._metrics),
                web.post("/progress", self._progress),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @staticmethod
    def _health(problem: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            what = problem()
            return web.Response(text=what or "ok", status=503 if what else 200)

        return answer

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _progress(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        pod = await self._authenticate(token) if token else None
        if pod is None:
            return web.Response(status=401, text="a token of a stage's pod is needed")
        namespace, name = pod
        child = self._child_of(namespace, name)
        if child is None:
            return web.Response(status=403, text="this pod belongs to no stage")
        try:
            self._board.post(namespace, child, (await request.json())["trainerStatus"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.Response(status=400, text="not a body of the trainer-status protocol")
        self._on_progress(namespace, child)
        return web.Response()

"""A reverse proxy between the operator and the API server, which loses and spoils what a test tells it to."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import aiohttp
from aiohttp import web

from branchmerge.local.environment import free_port

HOP_BY_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length"})
HOST = "127.0.0.1"
HANG_SECONDS = 3600


class Fault(Enum):
    """What becomes of a request."""

    NONE = "none"
    LOST = "lost"
    """The connection ends before the API server hears of it."""
    UNANSWERED = "unanswered"
    """The API server carries it out; the connection ends before the answer comes."""
    HANGS = "hangs"
    """Nothing comes back, and the connection stays."""
    CONFLICT = "409"
    GONE = "410"
    BUSY = "429"
    BROKEN = "500"


ANSWERS = {
    Fault.CONFLICT: (409, "Conflict", "the object has been modified"),
    Fault.GONE: (410, "Expired", "too old resource version"),
    Fault.BUSY: (429, "TooManyRequests", "too many requests, please try again later"),
    Fault.BROKEN: (500, "InternalError", "etcdserver: leader changed"),
}


@dataclass(frozen=True)
class Call:
    """A request as the proxy sees it.

    Attributes:
        method: of HTTP.
        path: without the query.
        watch: whether its answer is a stream of events.
    """

    method: str
    path: str
    watch: bool

    @property
    def writes(self) -> bool:
        """Whether it changes something of a job: neither an event nor the lease."""
        return self.method != "GET" and not {"events", "leases"} & set(self.path.split("/"))


Judge = Callable[[Call], Fault]


@dataclass
class FaultProxy:
    """Forwards everything, except where `judge` says otherwise.

    Attributes:
        judge: asked for each request, one after the other.
        faults: each request that was spoilt, and how.
    """

    url: str
    judge: Judge = field(default=lambda _: Fault.NONE)
    faults: list[tuple[Call, Fault]] = field(default_factory=list)
    _streams: set[asyncio.Task[object]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _stopped: asyncio.Event | None = None

    async def serve(self, upstream: str, certificate: Path, started: threading.Event) -> None:
        """Serve until `stop`."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        tls = ssl.create_default_context(cafile=str(certificate))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(session, upstream, request)

            app = web.Application(client_max_size=1 << 24)
            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, HOST, int(self.url.rpartition(":")[2])).start()
            started.set()
            await self._stopped.wait()
            await runner.cleanup()

    def stop(self) -> None:
        """End it."""
        assert self._loop is not None
        assert self._stopped is not None
        self._loop.call_soon_threadsafe(self._stopped.set)

    def cut(self) -> None:
        """End every connection that a watch or an unanswered request holds."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._streams])

    def spoilt(self, fault: Fault) -> int:
        """How many requests met this fault."""
        return sum(met is fault for _, met in self.faults)

    async def _handle(self, session: aiohttp.ClientSession, upstream: str, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.read()  # whole, so that whoever sent it may be gone when it is forwarded
        call = Call(request.method, request.path, request.query.get("watch") in {"1", "true"})
        fault = self.judge(call)
        if fault is not Fault.NONE:
            self.faults.append((call, fault))
        if fault is Fault.HANGS:
            async with self._held():
                await asyncio.sleep(HANG_SECONDS)
        if fault is Fault.LOST or (fault is Fault.UNANSWERED and call.watch):
            return drop(request)
        if fault in ANSWERS:
            return refusal(fault, watch=call.watch)
        answer = self._forward(session, upstream, request, body, unanswered=fault is Fault.UNANSWERED)
        if call.watch:
            return await answer  # ends with the connection
        return await asyncio.shield(answer)  # what was sent is carried out, though the sender be gone

    async def _forward(
        self, session: aiohttp.ClientSession, upstream: str, request: web.Request, body: bytes, *, unanswered: bool
    ) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        async with (
            self._held(),
            session.request(request.method, upstream + request.raw_path, headers=headers, data=body or None) as answer,
        ):
            if unanswered:
                await answer.read()
                return drop(request)
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            with suppress(ConnectionError):  # who asked is gone, or the API server is
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            return response

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Within it, `cut` ends the request, and its connection."""
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            yield
        finally:
            self._streams.discard(task)


def drop(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def refusal(fault: Fault, *, watch: bool) -> web.Response:
    """The API server's own answer to such a fault: within a watch that began, that its version is too old."""
    code, reason, message = ANSWERS[fault]
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    status = {**told, "code": code}
    if fault is Fault.GONE and watch:
        return web.json_response({"type": "ERROR", "object": status})
    return web.json_response(status, status=code, headers={"Retry-After": "1"} if fault is Fault.BUSY else None)


@contextmanager
def fault_proxy(upstream: str, certificate: Path) -> Iterator[FaultProxy]:
    """A proxy to the API server at `upstream`, which shows that authority's certificate, while the context lasts."""
    proxy = FaultProxy(f"http://{HOST}:{free_port()}")
    started = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.serve(upstream, certificate, started)))
    thread.start()
    try:
        assert started.wait(10)
        yield proxy
    finally:
        proxy.stop()
        thread.join()

"""Wires the parts of one replica together and runs them until it is told to end or loses the lead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

import kopf

from branchmerge.kube import handlers
from branchmerge.kube.cluster import DISTILLATION_JOBS, PODS, Cluster, ClusterError
from branchmerge.kube.controller import Controller, JobKey
from branchmerge.kube.executor import KINDS
from branchmerge.kube.identity import TokenReviewer
from branchmerge.kube.informer import Informer
from branchmerge.kube.labels import JOB_LABEL
from branchmerge.kube.leader import Leadership
from branchmerge.kube.metrics import Metrics, Snapshot
from branchmerge.kube.raw import Raw
from branchmerge.kube.reporting import ProgressBoard
from branchmerge.kube.server import Server
from branchmerge.kube.settings import OperatorSettings
from branchmerge.kube.witness import Witness

_END_SECONDS = 1.0
"""For parts to end after they were cancelled."""
_COMPARE_SECONDS = 60.0
"""Between two lists of all jobs, by which the watch of jobs is checked."""
_PROGRESS_PACE_SECONDS = 10.0
"""Progress alone brings a job to the queue no more often than this."""

logger = logging.getLogger(__name__)


class Operator:
    """One replica."""

    def __init__(self, cluster: Cluster, settings: OperatorSettings, namespace: str, identity: str) -> None:
        self._cluster = cluster
        self._settings = settings
        self._identity = identity
        self._board = ProgressBoard()
        self._witness = Witness()
        self._phases: dict[JobKey, str] = {}
        self._children = {kind: self._informer(resource) for kind, resource in KINDS.items()}
        self._pods = self._informer(PODS)
        self._controller = Controller(cluster, self._children, self._pods, self._board, settings, identity)
        self._leadership = Leadership(cluster, namespace, identity, settings.leader_election)
        self._metrics = Metrics(
            Snapshot(cluster, lambda: len(self._controller.queue), self._phases.values, lambda: self._leadership.leads)
        )
        self._reviewer = TokenReviewer(cluster)
        self._server = Server(
            self._metrics.registry,
            live=self._live,
            ready=self._ready,
            board=self._board,
            authenticate=self._reviewer.pod_of,
            child_of=self._child_of,
            on_progress=self._on_progress,
        )

    async def run(self, port: int, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises LeadershipLost where another replica may lead."""
        await self._server.start(port)
        try:
            stopped = asyncio.create_task(stop.wait())
            leading = asyncio.create_task(self._leadership.acquire())
            await asyncio.wait({stopped, leading}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                leading.cancel()
                return
            await self._lead(stopped)
        finally:
            await self._leadership.release()
            await self._server.close()

    async def _lead(self, stopped: asyncio.Task[Any]) -> None:
        """Work as the leader until stopped. Raises LeadershipLost, or what ended a part that must live.

        kopf ends by itself when the process is told to, but not soon where the API server does not answer.
        """
        parts = [asyncio.create_task(part) for part in self._parts()]
        try:
            done, _ = await asyncio.wait({stopped, *parts}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            for task in parts:
                task.cancel()
            await asyncio.wait(parts, timeout=_END_SECONDS)

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        informers = [*self._children.values(), self._pods]
        workers = [self._work(informers) for _ in range(self._settings.workers)]
        watches = [*(each.run() for each in informers), self._watch_jobs(informers), self._compare_jobs()]
        return [self._leadership.keep(), *watches, *workers]

    async def _watch_jobs(self, informers: list[Informer]) -> None:
        for informer in informers:
            await informer.synced()
        registry = kopf.OperatorRegistry()
        handlers.register(registry, self._controller.queue, self._phases, self._witness)
        namespace = self._settings.watch_namespace
        await kopf.operator(
            registry=registry,
            settings=handlers.settings(),
            identity=handlers.identity(self._identity),
            standalone=True,
            namespaces=[namespace] if namespace else [],
            clusterwide=namespace is None,
        )

    async def _compare_jobs(self) -> None:
        """Check the watch of jobs again and again, and work on what it missed."""
        while True:
            await asyncio.sleep(min(_COMPARE_SECONDS, self._settings.resync_seconds))
            try:
                jobs, _ = await self._cluster.list(DISTILLATION_JOBS, self._settings.watch_namespace)
            except ClusterError as error:
                logger.warning("list of jobs: %s", error)
                continue
            for key in self._witness.compare(jobs):
                self._controller.queue.add(key)

    async def _work(self, informers: list[Informer]) -> None:
        for informer in informers:
            await informer.synced()
        await self._controller.queue.work(self._timed, self._controller.on_error)

    async def _timed(self, key: JobKey) -> None:
        began, outcome = time.monotonic(), "error"
        try:
            await self._controller.reconcile(key)
            outcome = "ok"
        finally:
            self._metrics.reconcile_seconds.labels(outcome).observe(time.monotonic() - began)

    def _informer(self, kind: Any) -> Informer:
        return Informer(self._cluster, kind, self._settings.watch_namespace, JOB_LABEL, self._on_child)

    def _on_child(self, child: Raw) -> None:
        metadata = child["metadata"]
        self._controller.queue.add((metadata["namespace"], metadata["labels"][JOB_LABEL]))

    def _on_progress(self, namespace: str, child: str) -> None:
        for informer in self._children.values():
            found = informer.get(namespace, child)
            if found is not None:
                job = found["metadata"]["labels"][JOB_LABEL]
                self._controller.queue.add_after((namespace, job), _PROGRESS_PACE_SECONDS)

    def _child_of(self, namespace: str, pod: str) -> str | None:
        found = self._pods.get(namespace, pod)
        owners = found["metadata"].get("ownerReferences", []) if found else []
        return next((owner["name"] for owner in owners if owner["kind"] in KINDS), None)

    def _live(self) -> str | None:
        """What only a new process puts right; None if nothing. Broken connections are not of that kind."""
        missed = self._witness.missed
        return f"the watch of jobs is dead: it has not told of {', '.join(missed[:3])}" if missed else None

    def _ready(self) -> str | None:
        """Why this replica cannot do its part now; None if it can. One that does not lead only stands by."""
        watches = [*self._children.values(), self._pods] if self._leadership.leads else []
        problems = (self._leadership.problem(), *(each.problem() for each in watches), self._live())
        return next((problem for problem in problems if problem), None)

"""A local copy of the objects of one kind, kept current by a watch.

List once, then watch from there; what is dropped is listed anew. Readers see whole objects and must not change them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from branchmerge.kube.cluster import Cluster, ClusterError, GoneError, Kind
from branchmerge.kube.raw import Raw

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0

Listener = Callable[[Raw], None]
"""Told of every object that came, changed or went."""

logger = logging.getLogger(__name__)


class Informer:
    """The objects of one kind in one namespace (or all) that carry a label."""

    def __init__(
        self, cluster: Cluster, kind: Kind, namespace: str | None, labels: str | None, listener: Listener
    ) -> None:
        self.kind = kind
        self._cluster = cluster
        self._namespace = namespace
        self._labels = labels
        self._listener = listener
        self._objects: dict[tuple[str, str], Raw] = {}
        self._synced = asyncio.Event()
        self._fault: str | None = "not listed yet"
        self._wait = _FIRST_WAIT_SECONDS
        """After the next fault; doubled with each one, until a watch brings something."""

    async def run(self) -> None:
        """Follow the objects until cancelled; every fault of the API server is waited out."""
        while True:
            try:
                await self._follow(await self._list())
            except ClusterError as error:
                self._fault = None if isinstance(error, GoneError) else str(error)  # what is too old is no fault
                seconds = error.retry_after_seconds or random.uniform(self._wait / 2, self._wait)  # noqa: S311 - jitter
                logger.warning("watch of %s: %s; lists anew in %.1f s", self.kind.plural, error, seconds)
                await asyncio.sleep(seconds)
                self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)

    async def synced(self) -> None:
        """Wait until the first list is there."""
        await self._synced.wait()

    def problem(self) -> str | None:
        """Why the copy may be out of date, None while the watch lives."""
        return f"watch of {self.kind.plural}: {self._fault}" if self._fault else None

    def get(self, namespace: str, name: str) -> Raw | None:
        """One object, as it was last heard of."""
        return self._objects.get((namespace, name))

    def labelled(self, namespace: str, label: str, value: str) -> list[Raw]:
        """The namespace's objects that carry this label."""
        return [
            found
            for (place, _), found in self._objects.items()
            if place == namespace and found["metadata"].get("labels", {}).get(label) == value
        ]

    async def _list(self) -> str:
        items, version = await self._cluster.list(self.kind, self._namespace, self._labels)
        fresh: dict[tuple[str, str], Raw] = {_key(item): item for item in items}
        went = [found for key, found in self._objects.items() if key not in fresh]
        self._objects = fresh
        for item in (*items, *went):
            self._listener(item)
        self._synced.set()
        self._fault = None
        return version

    async def _follow(self, version: str) -> None:
        while True:
            async for kind, item in self._cluster.watch(self.kind, self._namespace, version, self._labels):
                self._wait = _FIRST_WAIT_SECONDS
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._apply(kind, item)

    def _apply(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self._objects.pop(_key(item), None)
        else:
            self._objects[_key(item)] = item
        self._listener(item)


def _key(item: Raw) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]

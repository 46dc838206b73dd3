"""A local copy of the objects of one kind, kept current by a watch.

List once, then watch from there; what is dropped is listed anew. Readers see whole objects and must not change them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from branchmerge.kube.cluster import Cluster, ClusterError, GoneError, Kind

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0

Raw = Mapping[str, Any]
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
        self._heard_at = float("-inf")

    async def run(self) -> None:
        """Follow the objects until cancelled; every fault of the API server is waited out."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                version = await self._list()
                wait = _FIRST_WAIT_SECONDS
                await self._follow(version)
            except GoneError:
                logger.info("watch of %s is too old, listing anew", self.kind.plural)
            except ClusterError as error:
                seconds = error.retry_after_seconds or random.uniform(wait / 2, wait)  # noqa: S311 - jitter
                logger.warning("watch of %s: %s; again in %.1f s", self.kind.plural, error, seconds)
                await asyncio.sleep(seconds)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def synced(self) -> None:
        """Wait until the first list is there."""
        await self._synced.wait()

    def silent_seconds(self) -> float:
        """Seconds since the API server was last heard of: a list, an event or a bookmark."""
        return time.monotonic() - self._heard_at

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
        self._heard_at = time.monotonic()
        fresh: dict[tuple[str, str], Raw] = {_key(item): item for item in items}
        went = [found for key, found in self._objects.items() if key not in fresh]
        self._objects = fresh
        for item in (*items, *went):
            self._listener(item)
        self._synced.set()
        return version

    async def _follow(self, version: str) -> None:
        while True:
            async for kind, item in self._cluster.watch(self.kind, self._namespace, version, self._labels):
                self._heard_at = time.monotonic()
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

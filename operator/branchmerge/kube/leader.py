"""One replica reconciles at a time: the one that holds a `coordination.k8s.io` Lease.

A holder that could not renew for the length of the lease has lost it, whatever the API server says: by then another
replica may hold it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from branchmerge.kube.cluster import LEASES, Cluster, ClusterError, ConflictError, NotFoundError
from branchmerge.kube.settings import LeaderElection

_RETRY_SECONDS = 0.5
"""Between two tries to renew where the first one failed."""

logger = logging.getLogger(__name__)


class LeadershipLost(Exception):  # noqa: N818 - an event that ends the process
    """Another replica may lead now: this one must do nothing more."""


class Leadership:
    """This replica's part in the election."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str, settings: LeaderElection) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._settings = settings
        self.leads = False
        self._heard_at = float("-inf")
        self._seen: tuple[str, str | None] | None = None
        self._seen_at = 0.0

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while not await self._try():
            await asyncio.sleep(self._settings.renew_seconds / 2)
        self.leads = True
        logger.info("leads as %s", self._identity)

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeadershipLost, a renewal's time before another replica may take the lead."""
        renewed_at = time.monotonic()
        while True:
            until = renewed_at + self._settings.lease_seconds - self._settings.renew_seconds
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    renewed_at = await self._renewed()
            except TimeoutError:
                self.leads = False
                raise LeadershipLost(f"{self._identity} could not renew the lease") from None

    async def _renewed(self) -> float:
        """Renew when it is time, again and again until that succeeds; the moment before the try that did."""
        await asyncio.sleep(self._settings.renew_seconds)
        while True:
            began = time.monotonic()
            if await self._try():
                return began
            await asyncio.sleep(_RETRY_SECONDS)

    def problem(self) -> str | None:
        """What is wrong with the election, None if it is well: the API server answers about the lease."""
        silent = time.monotonic() - self._heard_at > 2 * self._settings.renew_seconds
        return f"the API server does not answer about lease {self._settings.lease_name}" if silent else None

    async def release(self) -> None:
        """Let another replica lead at once, not only when the lease has run out."""
        if not self.leads:
            return
        self.leads = False
        try:
            lease = await self._read()
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace(LEASES, lease)
        except ClusterError as error:
            logger.warning("lease not released, it runs out: %s", error)

    async def _try(self) -> bool:
        """Take or renew the lease, within the time between two renewals: an answer that comes later is of no use."""
        try:
            async with asyncio.timeout(self._settings.renew_seconds):
                return await self._claimed()
        except ConflictError:
            return False
        except (ClusterError, TimeoutError) as error:
            logger.warning("lease %s: %s", self._settings.lease_name, error or "no answer in time")
            return False

    async def _claimed(self) -> bool:
        lease = await self._read()
        self._heard_at = time.monotonic()
        now = datetime.now(UTC)
        if lease is None:
            await self._cluster.create(LEASES, self._namespace, self._lease(now))
            return True
        if not self._may_take(lease["spec"]):
            return False
        changed = lease["spec"].get("holderIdentity") != self._identity
        lease["spec"] = lease["spec"] | self._claim(now, lease["spec"], changed=changed)
        await self._cluster.replace(LEASES, lease)
        return True

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(LEASES, self._namespace, self._settings.lease_name)
        except NotFoundError:
            return None

    def _may_take(self, spec: dict[str, Any]) -> bool:
        """Whether nobody holds the lease, or its holder has not renewed it for its length by our own clock.

        The holder's clock may be off by any amount, so its times are only compared for equality.
        """
        if spec.get("holderIdentity") in (None, "", self._identity):
            return True
        renewal = (spec["holderIdentity"], spec.get("renewTime"))
        if renewal != self._seen:
            self._seen, self._seen_at = renewal, time.monotonic()
        lasts = spec.get("leaseDurationSeconds") or self._settings.lease_seconds
        return time.monotonic() - self._seen_at > lasts

    def _lease(self, now: datetime) -> dict[str, Any]:
        metadata = {"name": self._settings.lease_name, "namespace": self._namespace}
        return {"metadata": metadata, "spec": self._claim(now, {}, changed=True)}

    def _claim(self, now: datetime, before: dict[str, Any], *, changed: bool) -> dict[str, Any]:
        moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        claim = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._settings.lease_seconds,
            "renewTime": moment,
        }
        if changed:
            claim |= {"acquireTime": moment, "leaseTransitions": before.get("leaseTransitions", -1) + 1}
        return claim

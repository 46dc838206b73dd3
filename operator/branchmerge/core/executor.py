"""What a place where attempts run must be able to do. Kubernetes and this machine both implement it."""

from __future__ import annotations

from typing import Protocol

from branchmerge.api.resource import DistillationJob
from branchmerge.core.model import Discard, Observation, Start, Stop


class Executor(Protocol):
    """Observes, starts and stops attempts of one job. Every call may be repeated and has then no further effect."""

    async def observe(self, job: DistillationJob) -> Observation:
        """All attempts of the job, the results that are in its workspace, and its inputs as they are resolved now."""
        ...

    async def start(self, action: Start) -> bool:
        """Begin the attempt. False where there is no room now: the plan asks again."""
        ...

    async def stop(self, action: Stop) -> None:
        """Ask the attempt to end, and end it after the grace period. Returns at once."""
        ...

    async def discard(self, action: Discard) -> None:
        """Forget the attempt; keep its stage's outputs."""
        ...

"""Whether the watch of jobs still tells what happens.

kopf keeps that watch, starts it anew where it breaks, and says nothing of either. So the jobs are listed now and then,
and what kopf has told of is compared: a version that it has not told of by the time of the next list was missed. A job
that it missed is worked on all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

JobKey = tuple[str, str]


class Witness:
    """What was told of jobs, and what a list showed."""

    def __init__(self) -> None:
        self._told: dict[JobKey, str] = {}
        self._late: set[JobKey] = set()
        """Jobs that the last list showed otherwise, and of which nothing was told since."""
        self.missed: tuple[str, ...] = ()
        """`namespace/name` of each job whose changes were not told of; empty while the watch lives."""

    def told(self, key: JobKey, version: str) -> None:
        """The watch told of this version of a job."""
        self._told[key] = version
        self._late.discard(key)
        self.missed = ()

    def gone(self, key: JobKey) -> None:
        """The watch told of the end of a job."""
        self._told.pop(key, None)
        self._late.discard(key)
        self.missed = ()

    def compare(self, jobs: Iterable[Mapping[str, Any]]) -> list[JobKey]:
        """Take a list of all jobs; the ones that it shows otherwise than the watch did, those not listed among them.

        One that was so last time already, and of which the watch has said nothing since, counts as missed.
        """
        listed = {(job["metadata"]["namespace"], job["metadata"]["name"]): job["metadata"] for job in jobs}
        versions = {key: metadata["resourceVersion"] for key, metadata in listed.items()}
        differ = [key for key in versions.keys() | self._told.keys() if versions.get(key) != self._told.get(key)]
        self.missed = tuple(sorted("/".join(key) for key in differ if key in self._late))
        self._late = set(differ)
        return differ

"""`python -m branchmerge.kube.release [NAMESPACE]`: lets go of every job, for when the operator is uninstalled.

A job with our finalizer would wait for ever for an operator that is gone. Its artifacts stay.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from branchmerge.kube.cluster import DISTILLATION_JOBS, Cluster, ClusterError, ConflictError, NotFoundError
from branchmerge.kube.logs import configure
from branchmerge.kube.retention import FINALIZER, without_ours

_TRIES = 5
"""A job that changes again and again while it is let go is given up after so many tries."""

logger = logging.getLogger("branchmerge.kube.release")


async def release_all(cluster: Cluster, namespace: str | None) -> int:
    """Take our finalizer off every job of the namespace (None: of all); how many still have it."""
    held = 0
    for _ in range(_TRIES):
        jobs, _version = await cluster.list(DISTILLATION_JOBS, namespace)
        held = 0
        for metadata in (job["metadata"] for job in jobs if FINALIZER in job["metadata"].get("finalizers", [])):
            patch = {"finalizers": without_ours(metadata), "resourceVersion": metadata["resourceVersion"]}
            try:
                await cluster.merge(DISTILLATION_JOBS, metadata["namespace"], metadata["name"], {"metadata": patch})
            except NotFoundError:
                continue
            except ConflictError:
                held += 1
                continue
            logger.info("let go", extra={"job": f"{metadata['namespace']}/{metadata['name']}"})
        if not held:
            break
    return held


def main() -> int:
    """Exit code 1: some job could not be let go."""
    configure("info")
    namespace = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        held = asyncio.run(_run(namespace))
    except NotFoundError:
        return 0  # the definition is gone, and every job with it
    except ClusterError as error:
        logger.error("%s", error)
        return 1
    return 1 if held else 0


async def _run(namespace: str | None) -> int:
    async with await Cluster.connect() as cluster:
        return await release_all(cluster, namespace)


if __name__ == "__main__":
    sys.exit(main())

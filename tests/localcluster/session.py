"""A cluster while something uses it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from localcluster.cleanup import remains
from localcluster.cluster import Cluster
from localcluster.errors import ClusterError
from localcluster.lock import POLL_SECONDS, WAIT_SECONDS, MachineLock, machine_lock


@contextmanager
def cluster_in_use(cluster: Cluster) -> Iterator[None]:
    """Have a cluster: the first of its users starts it, the last one ends it. One that somebody keeps stays.

    Raises:
        CannotRunError: this machine cannot run nodes.
        ClusterError: a part of it did not start; others use a cluster of other parts for too long; or something is
            left of it when it was ended.
    """
    with machine_lock(cluster.topology.name) as lock:
        _join(cluster, lock)
        try:
            yield
        finally:
            if lock.try_alone() and not cluster.usable():
                _end(cluster)


def _join(cluster: Cluster, lock: MachineLock) -> None:
    """Return when the cluster is whole and the lock is held together with its other users."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if lock.try_alone():
            cluster.up(keep=False)
        lock.together()
        if cluster.whole():
            return
        lock.release()  # it is of other parts, or its last user has ended it just now
        time.sleep(POLL_SECONDS)
    raise ClusterError(f"others use a {cluster.topology.name} of other parts: wait for them, or make cluster-down")


def _end(cluster: Cluster) -> None:
    cluster.down()
    if left := remains(cluster.topology):
        raise ClusterError(f"{cluster.topology.name} was ended, but left: {', '.join(left)}")

"""What Prometheus reads. No metric has an object's name as a label: their number would grow without bound."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from branchmerge.api.status import Phase
from branchmerge.kube.cluster import Cluster

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The operator's registry. What can be looked up when it is asked for is not counted along."""

    def __init__(self, snapshot: Collector) -> None:
        self.registry = CollectorRegistry()
        self.reconcile_seconds = Histogram(
            "branchmerge_reconcile_seconds",
            "Duration of one pass over a job.",
            ["outcome"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(snapshot)


class Snapshot(Collector):
    """Figures that exist elsewhere, read when they are scraped."""

    def __init__(
        self,
        cluster: Cluster,
        queue_length: Callable[[], int],
        phases: Callable[[], Iterable[str]],
        leads: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._queue_length = queue_length
        self._phases = phases
        self._leads = leads

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield GaugeMetricFamily("branchmerge_queue_length", "Jobs that wait for a pass.", value=self._queue_length())
        yield GaugeMetricFamily("branchmerge_leader", "Whether this replica leads.", value=float(self._leads()))
        jobs = GaugeMetricFamily("branchmerge_jobs", "Jobs by phase.", labels=["phase"])
        tally = Tally(self._phases())
        for phase in Phase:
            jobs.add_metric([phase], tally[phase])
        yield jobs
        calls = CounterMetricFamily(
            "branchmerge_api_calls", "Calls of the API server; code 0: no answer.", labels=["verb", "kind", "code"]
        )
        for (verb, kind, code), count in sorted(self._cluster.calls.items()):
            calls.add_metric([verb, kind, str(code)], count)
        yield calls

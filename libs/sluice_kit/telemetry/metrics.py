"""The one place where metric names live, so that dashboards and alerts hold for every service.

A process has one :class:`MetricFamilies` (a registry of its own, never prometheus_client's global one) and
one :class:`ServiceMetrics` for each service and shard that runs in it: a chain runs several.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_OWNER: Final = ("service", "shard")
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS_CONSUMED: Final = "sluice_events_consumed_total"
EVENTS_PRODUCED: Final = "sluice_events_produced_total"
EVENTS_QUARANTINED: Final = "sluice_events_quarantined_total"
BATCH_SECONDS: Final = "sluice_batch_seconds"
STEP_SECONDS: Final = "sluice_step_seconds"
COMMIT_SECONDS: Final = "sluice_commit_seconds"
LAG_RECORDS: Final = "sluice_lag_records"
CHECKPOINT_AGE_SECONDS: Final = "sluice_checkpoint_age_seconds"
STATE_BYTES: Final = "sluice_state_bytes"
OUTBOX_PENDING: Final = "sluice_outbox_pending_events"
BATCHES_SKIPPED: Final = "sluice_inbox_batches_skipped_total"
HTTP_REQUESTS: Final = "sluice_http_requests_total"
HTTP_REQUEST_SECONDS: Final = "sluice_http_request_seconds"


class MetricFamilies:
    """Every metric of a process, labelled by service and shard, in ``registry``."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry(auto_describe=True)
        self.consumed = self._counter(EVENTS_CONSUMED, "Events read from a topic.", "topic")
        self.produced = self._counter(EVENTS_PRODUCED, "Events written to a topic and committed.", "topic")
        self.quarantined = self._counter(EVENTS_QUARANTINED, "Events quarantined, by reason code.", "reason")
        self.skipped = self._counter(
            BATCHES_SKIPPED, "Batches read again after their effects were committed.", "topic"
        )
        self.batch = self._histogram(BATCH_SECONDS, "From the first record of a batch to its commit.")
        self.step = self._histogram(STEP_SECONDS, "Time in the step or handler of a batch.")
        self.commit = self._histogram(COMMIT_SECONDS, "Time to commit a batch.")
        self.lag = self._gauge(
            LAG_RECORDS, "Records between the position and the end of a partition.", "topic", "partition"
        )
        self.checkpoint_age = self._gauge(CHECKPOINT_AGE_SECONDS, "Age of the last sealed checkpoint.")
        self.state = self._gauge(STATE_BYTES, "Bytes of state held.")
        self.outbox = self._gauge(OUTBOX_PENDING, "Outbox rows that the broker has not acknowledged yet.")
        self.requests = self._counter(HTTP_REQUESTS, "HTTP requests answered.", "method", "route", "status")
        self.request_seconds = self._histogram(
            HTTP_REQUEST_SECONDS, "Time to answer an HTTP request.", "method", "route"
        )

    def service(self, service: str, shard: str = "0") -> ServiceMetrics:
        """Return the metrics of one service and shard in this process."""
        return ServiceMetrics(self, service, shard)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, (*_OWNER, *labels), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, (*_OWNER, *labels), registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, (*_OWNER, *labels), registry=self.registry, buckets=_SECONDS)


class ServiceMetrics:
    """The metrics of one service and shard; children are looked up once, batches pay for additions."""

    def __init__(self, families: MetricFamilies, service: str, shard: str) -> None:
        own = (service, shard)
        self.families, self.service, self.shard = families, service, shard
        self.batch_seconds = families.batch.labels(*own)
        self.step_seconds = families.step.labels(*own)
        self.commit_seconds = families.commit.labels(*own)
        self.checkpoint_age_seconds = families.checkpoint_age.labels(*own)
        self.state_bytes = families.state.labels(*own)
        self.outbox_pending = families.outbox.labels(*own)
        self.consumed = cache(lambda topic: families.consumed.labels(*own, topic))
        self.produced = cache(lambda topic: families.produced.labels(*own, topic))
        self.quarantined = cache(lambda reason: families.quarantined.labels(*own, reason))
        self.batches_skipped = cache(lambda topic: families.skipped.labels(*own, topic))
        self.lag_records = cache(lambda topic, partition: families.lag.labels(*own, topic, str(partition)))

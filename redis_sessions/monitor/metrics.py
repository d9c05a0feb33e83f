"""``/metrics`` for Prometheus: requests by operation, and what the store has counted.

Labels are operations, never flows or sessions: those are people's, and without bound.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from redis_sessions.store import SessionStore

_NAME = "redis_sessions"
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Counts for one application, in a registry of its own: several may live in one process."""

    def __init__(self, store: SessionStore) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StoreCounters(store))
        self._requests = Counter(
            f"{_NAME}_http_requests",
            "Requests answered, by operation and status.",
            ("method", "path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            f"{_NAME}_http_request_seconds",
            "Time until an answer began.",
            ("method", "path"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.open_streams: Gauge = Gauge(
            f"{_NAME}_http_streams", "Live feeds that are open.", registry=self._registry
        )

    async def show(self, _: Request) -> Response:
        """All metrics, in Prometheus' text format."""
        return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST})

    def timed(self, method: str, path: str, app: ASGIApp) -> ASGIApp:
        """``app`` with its answers counted under this operation."""
        seconds = self._seconds.labels(method, path)
        # The usual outcome is looked up once.
        succeeded = self._requests.labels(method, path, "200")

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            started = time.perf_counter()
            begun = False

            async def send_counted(message: Message) -> None:
                nonlocal begun
                if message["type"] == "http.response.start":
                    begun = True
                    status = message["status"]
                    seconds.observe(time.perf_counter() - started)
                    (succeeded if status == 200 else self._requests.labels(method, path, str(status))).inc()
                await send(message)

            try:
                await app(scope, receive, send_counted)
            except Exception:
                if not begun:
                    self._requests.labels(method, path, "500").inc()
                raise

        return counted


class _StoreCounters(Collector):
    """What the store counts itself, read when Prometheus asks."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def collect(self) -> Iterator[CounterMetricFamily]:
        counters = self._store.counters
        for name, value, text in (
            ("redis_calls", counters.calls, "Operations on Redis."),
            ("redis_retries", counters.retries, "Operations tried again after a fault."),
            ("corrupt_entries", counters.corrupt_entries, "Stored entries that could not be read."),
            ("redis_round_trips", self._store.round_trips, "Round trips to Redis."),
        ):
            yield CounterMetricFamily(f"{_NAME}_{name}", text, value=value)
        faults = CounterMetricFamily(f"{_NAME}_redis_faults", "Faults of Redis, by class.", labels=["class"])
        for name, count in dict(counters.faults).items():
            faults.add_metric([name], count)
        yield faults

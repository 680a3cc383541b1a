"""Count what the gateway does, for Prometheus. No subject, key or model is a label.

Called by `app`.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Measures:
    """The counters of one gateway."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "meter_gateway_requests",
            "Requests that were answered, by endpoint (unmetered: read by nobody).",
            ("endpoint", "upstream", "status"),
            registry=self._registry,
        )
        self._outcomes = Counter(
            "meter_gateway_calls",
            "Calls that reached the ledger, by how they ended.",
            ("outcome",),
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "meter_gateway_in_flight", "Requests being answered.", registry=self._registry
        )
        self._seconds = Histogram(
            "meter_gateway_seconds",
            "From a request to the end of its answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_byte_seconds = Histogram(
            "meter_gateway_first_byte_seconds",
            "From a request to the first byte of the upstream's answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def note(
        self,
        *,
        endpoint: str,
        upstream: str,
        status: int,
        seconds: float,
        outcome: str | None,
        first_byte_seconds: float | None,
    ) -> None:
        """Count one request that has ended."""
        self._requests.labels(endpoint, upstream, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)
        if outcome is not None:
            self._outcomes.labels(outcome).inc()
        if first_byte_seconds is not None:
            self._first_byte_seconds.labels(endpoint).observe(first_byte_seconds)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

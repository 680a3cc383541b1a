"""Count what the gateway does, for Prometheus. No subject, key or model is a label.

Where OpenTelemetry's conventions for generative AI have a name for a measure it is used, as
Prometheus writes it: `gen_ai.server.request.duration`, `gen_ai.server.time_to_first_token`.
Called by `app`.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ (2026-11; development).
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Measures(Collector):
    """The counters of one gateway. Counted and read on its event loop only: nothing is locked."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.in_flight = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        self._outcomes: dict[str, int] = {}
        self._seconds: dict[str, _Times] = {}
        self._first_byte_seconds: dict[str, _Times] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

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
        request = (endpoint, upstream, status)
        self._requests[request] = self._requests.get(request, 0) + 1
        _times(self._seconds, endpoint).note(seconds)
        if outcome is not None:
            self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        if first_byte_seconds is not None:
            _times(self._first_byte_seconds, endpoint).note(first_byte_seconds)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted, as the Prometheus client asks."""
        requests = CounterMetricFamily(
            "meter_gateway_requests",
            "Requests that were answered, by endpoint (unmetered: read by nobody).",
            labels=("endpoint", "upstream", "status"),
        )
        for (endpoint, upstream, status), count in self._requests.items():
            requests.add_metric((endpoint, upstream, str(status)), count)
        yield requests
        outcomes = CounterMetricFamily(
            "meter_gateway_calls",
            "Calls that reached the ledger, by how they ended.",
            labels=("outcome",),
        )
        for outcome, count in self._outcomes.items():
            outcomes.add_metric((outcome,), count)
        yield outcomes
        yield GaugeMetricFamily(
            "meter_gateway_in_flight", "Requests being answered.", value=self.in_flight
        )
        yield _histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request to the end of its answer.",
            self._seconds,
        )
        yield _histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request to the first byte of the upstream's answer.",
            self._first_byte_seconds,
        )


class _Times:
    """How often something took how long."""

    __slots__ = ("counts", "sum_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum_seconds = 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum_seconds += seconds


def _times(known: dict[str, _Times], endpoint: str) -> _Times:
    times = known.get(endpoint)
    if times is None:
        times = known[endpoint] = _Times()
    return times


def _histogram(name: str, text: str, known: Mapping[str, _Times]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=("gen_ai_operation_name",))
    for endpoint, times in known.items():
        below = accumulate(times.counts)
        bounds = [*(str(float(bound)) for bound in _SECONDS), "+Inf"]
        buckets = list(zip(bounds, below, strict=True))
        family.add_metric((endpoint,), buckets, times.sum_seconds)
    return family

"""Counters of the web with a bounded number of series."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LAUNCH_SECONDS = (0.1, 0.3, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200)


class WebMetrics:
    """Metrics in a registry of their own. Other parts may register theirs in ``registry``."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.requests = Counter(
            "launcher_http_requests_total", "Answers by status class.", ["status"], registry=self.registry
        )
        self.launches = Counter(
            "launcher_launches_total", "Launch streams told to their end.", ["outcome"], registry=self.registry
        )
        self.launch_seconds = Histogram(
            "launcher_launch_seconds",
            "Seconds from a launch request to ready.",
            buckets=_LAUNCH_SECONDS,
            registry=self.registry,
        )
        self.open_streams = Gauge("launcher_open_streams", "Event streams open now.", registry=self.registry)

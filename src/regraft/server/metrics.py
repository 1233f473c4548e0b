"""What the server did, in numbers, as Prometheus reads them: no file names, no pictures."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "regraft_requests", "Requests answered", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "regraft_request_seconds", "From a request's head to the end of its answer",
            ("route",), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.pictures = Counter(
            "regraft_pictures", "Pictures answered, or rejected since they cannot be read",
            ("model", "outcome"), registry=self.registry,
        )  # fmt: skip
        self.log_lines_lost = Counter(
            "regraft_log_lines_lost", "Lines that whoever reads the log was too slow for",
            registry=self.registry,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is read."""
        Gauge(name, help_text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)

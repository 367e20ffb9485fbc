"""What is counted and timed, for Prometheus.

Takes finished requests and ingested events, gives `/metrics`; never holds an id or a body. With
several server processes each answers for itself; Prometheus sums over them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphsvc.ingest import STATUSES

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The metrics of one server process, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    events: Counter = field(init=False)
    generation: Gauge = field(init=False)
    folded: Gauge = field(init=False)
    lag: Gauge = field(init=False)
    answers: Counter = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "requests": Counter(
                "graphsvc_requests_total",
                "HTTP requests answered",
                ("method", "route", "status"),
                registry=self.registry,
            ),
            "seconds": Histogram(
                "graphsvc_request_seconds",
                "Time to answer a request, in seconds",
                ("method", "route"),
                buckets=_SECONDS,
                registry=self.registry,
            ),
            "events": Counter(
                "graphsvc_events_total", "Events by verdict", ("verdict",), registry=self.registry
            ),
            "generation": Gauge(
                "graphsvc_live_generation",
                "Generation of the live trio, 0 before the first promotion",
                registry=self.registry,
            ),
            "folded": Gauge(
                "graphsvc_overlay_entities", "Entities folded in", registry=self.registry
            ),
            "lag": Gauge(
                "graphsvc_overlay_lag_events",
                "Rows of the log that the overlay is behind",
                registry=self.registry,
            ),
            "answers": Counter(
                "graphsvc_answers_total",
                "Answers by what became of their record: written or dropped",
                ("record",),
                registry=self.registry,
            ),
        }
        for name, metric in made.items():
            object.__setattr__(self, name, metric)  # frozen: set once, here
        # A series that begins with its first event hides that event from `rate()`.
        for status in STATUSES:
            self.events.labels(status)

    def watch_overlay(self, *, folded: Callable[[], int], lag: Callable[[], int]) -> None:
        """Ask for the overlay's size and lag whenever the metrics are read."""
        self.folded.set_function(folded)
        self.lag.set_function(lag)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class TimedRequests:
    """Pure ASGI middleware: times each request under its route's template."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self.telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"]
            self.telemetry.requests.labels(method, route, str(status)).inc()
            self.telemetry.seconds.labels(method, route).observe(time.perf_counter() - started)

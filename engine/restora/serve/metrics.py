"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from restora.backends import SessionStats
from restora.serve.photos import Made
from restora.version import __version__

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.http_requests = Counter(
            "restora_http_requests", "Requests that were answered", ["route", "method", "status"],
            registry=registry,
        )  # fmt: skip
        self.http_seconds = Histogram(
            "restora_http_request_seconds", "Seconds from request to answer", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.problems = Counter(
            "restora_problems", "Errors that were answered, by code", ["code"], registry=registry
        )
        self.refusals = Counter(
            "restora_refused", "Requests that were not admitted", ["reason"], registry=registry
        )
        self.drops = Counter(
            "restora_dropped", "Requests whose client had gone or that were late", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.queue_seconds = Histogram(
            "restora_queue_seconds", "Seconds in the queue", buckets=_SECONDS, registry=registry
        )
        self.stage_seconds = Histogram(
            "restora_stage_seconds", "Seconds of a photo in a stage", ["stage"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.photos = Counter("restora_photos", "Photos", ["model", "status"], registry=registry)
        self.pixels = Counter("restora_pixels", "Pixels", ["direction"], registry=registry)
        self.faces = Counter(
            "restora_faces", "Faces that were found", ["status"], registry=registry
        )
        self.ready = Gauge("restora_ready", "Whether requests are served", registry=registry)
        Info("restora", "The service", registry=registry).info({"version": __version__})
        for reason in ("queue-full", "starting", "draining", "rate-limit"):
            self.refusals.labels(reason)

    def refused(self, code: str) -> None:
        self.refusals.labels(code).inc()

    def dropped(self, code: str) -> None:
        self.drops.labels(code).inc()

    def waited(self, seconds: float) -> None:
        self.queue_seconds.observe(seconds)

    def made(self, made: Made, input_pixels: int) -> None:
        """Count a photo that was restored."""
        self.photos.labels(made.model, "restored").inc()
        self.pixels.labels("in").inc(input_pixels)
        self.pixels.labels("out").inc(made.size[0] * made.size[1])
        for stage, seconds in made.seconds.items():
            self.stage_seconds.labels(stage).observe(seconds)
        for face in made.faces or ():
            self.faces.labels(face["status"]).inc()

    def watch(
        self,
        gauges: Callable[[], Mapping[str, float]],
        networks: Callable[[], Mapping[str, SessionStats]],
        jobs: Callable[[], Mapping[str, int]],
    ) -> None:
        """Report values that are counted elsewhere whenever metrics are read.

        gauges: by name; networks: what each has done so far; jobs: by state
        """
        self.registry.register(_Watched(gauges, networks, jobs))


class _Watched(Collector):
    def __init__(
        self,
        gauges: Callable[[], Mapping[str, float]],
        networks: Callable[[], Mapping[str, SessionStats]],
        jobs: Callable[[], Mapping[str, int]],
    ) -> None:
        self._gauges, self._networks, self._jobs = gauges, networks, jobs

    def collect(self) -> Iterable[Metric]:
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"restora_{name}", name.replace("_", " "), value=value)
        calls = CounterMetricFamily("restora_network_calls", "Calls", labels=["network"])
        pictures = CounterMetricFamily(
            "restora_network_pictures", "Tiles and faces in all calls", labels=["network"]
        )
        busy = CounterMetricFamily(
            "restora_network_busy_seconds", "Seconds with a running call", labels=["network"]
        )
        for name, stats in self._networks().items():
            calls.add_metric([name], stats.calls)
            pictures.add_metric([name], stats.pictures)
            busy.add_metric([name], stats.busy_s)
        yield from (calls, pictures, busy)
        jobs = GaugeMetricFamily("restora_jobs", "Jobs by state", labels=["state"])
        for state, count in self._jobs().items():
            jobs.add_metric([state], count)
        yield jobs

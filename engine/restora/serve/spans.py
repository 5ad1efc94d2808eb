"""Spans of OpenTelemetry for requests, where its API is installed.

Where they go is set up by whoever starts the process: `opentelemetry-instrument restora serve`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from restora.version import __version__

Attributes = dict[str, str | int | float]


class Spans:
    """Makes a span for each request; none without OpenTelemetry."""

    def __init__(self) -> None:
        self._trace: Any = None
        try:
            from opentelemetry import propagate, trace
        except ImportError:
            return
        self._trace, self._extract = trace, propagate.extract
        self._tracer = trace.get_tracer("restora.serve", __version__)

    @contextmanager
    def around(self, headers: Mapping[str, str], facts: Attributes) -> Iterator[None]:
        """A span that goes on with the trace of a traceparent header.

        facts: its attributes, which may be added until the block ends; "name" is the span's name
        """
        if self._trace is None:
            yield
            return
        context = self._extract(dict(headers))
        kind = self._trace.SpanKind.SERVER
        with self._tracer.start_as_current_span("request", context=context, kind=kind) as span:
            try:
                yield
            finally:
                span.update_name(facts.pop("name", "request"))
                span.set_attributes(facts)
                if int(facts.get("http.response.status_code", 0)) >= 500:
                    span.set_status(self._trace.StatusCode.ERROR)

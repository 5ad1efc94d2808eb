"""Facts about tracing: requests are spans of the caller's trace, where OpenTelemetry is set up."""

from __future__ import annotations

import pytest

from fakes import NearestSession
from restora.serve.spans import Attributes, Spans
from serve_rig import picture, service_on, serving


def test_without_opentelemetry_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    facts: Attributes = {"name": "x"}
    with Spans().around({}, facts):
        pass
    assert facts == {"name": "x"}


def test_a_request_is_a_span_of_the_trace_that_it_names() -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-sdk is not installed")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    processor = pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor
    exporter, provider = export.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(processor(exporter))
    trace.set_tracer_provider(provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving(service_on(NearestSession())) as client:
        client.post("/v1/restore", content=picture(), headers={"traceparent": parent})
        client.post("/v1/restore", content=b"nothing")
    good, bad = exporter.get_finished_spans()
    assert good.name == bad.name == "POST /v1/restore"
    assert f"{good.context.trace_id:032x}" == parent[3:35]
    assert good.attributes["http.response.status_code"] == 200
    assert good.attributes["restora.model"] == "tiny"
    assert good.attributes["restora.upsample_s"] > 0
    assert bad.attributes["http.response.status_code"] == 415

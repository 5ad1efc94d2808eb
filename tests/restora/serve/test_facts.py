"""Facts about what a service tells of itself: models, metrics, health, the OpenAPI document."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from fakes import NearestSession
from restora.errors import MissingModelError
from restora.serve import ServeOptions, Service, create_app
from restora.serve.models import ModelPool
from restora.serve.openapi import make_document
from restora.serve.parameters import SCHEMA
from serve_rig import picture, problem_in, restorer_on, service_on, serving, until


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(service_on(restorer_on(NearestSession(), faces=True))) as client:
        yield client


def test_models_are_listed_with_parameters_and_limits(client: httpx.Client) -> None:
    found = client.get("/v1/models").json()
    (model,) = found["models"]
    assert model["name"] == "tiny"
    assert model["default"]
    assert (model["scale"], model["precision"], model["backend"]) == (2, "fp32", "given")
    assert found["faces"] is True
    assert found["parameters"] == SCHEMA
    assert found["limits"]["queue"] == 64


def test_metrics_count_photos_pixels_faces_stages_and_answers(client: httpx.Client) -> None:
    client.post("/v1/restore", content=picture())
    client.post("/v1/restore", content=b"nothing")
    text = client.get("/metrics").text
    for line in (
        'restora_photos_total{model="tiny",status="restored"} 1.0',
        'restora_pixels_total{direction="in"} 384.0',
        'restora_pixels_total{direction="out"} 1536.0',
        'restora_faces_total{status="restored"} 1.0',
        'restora_stage_seconds_count{stage="upsample"} 1.0',
        'restora_stage_seconds_count{stage="faces"} 1.0',
        'restora_problems_total{code="unknown-format"} 1.0',
        'restora_http_requests_total{method="POST",route="/v1/restore",status="200"} 1.0',
        'restora_network_pictures_total{network="tiny"} 1.0',
        "restora_queue_limit 64.0",
        "restora_ready 1.0",
        "restora_queue_waiting 0.0",
        "restora_memory_held_bytes 0.0",
    ):
        assert line in text, line


def test_labels_of_metrics_are_never_made_up_by_clients(client: httpx.Client) -> None:
    client.get("/absent-path")
    client.request("BREW", "/v1/models")
    text = client.get("/metrics").text
    assert "absent-path" not in text
    assert "BREW" not in text
    assert 'method="other"' in text


def walk(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        yield found
        for value in found.values():
            yield from walk(value)
    elif isinstance(found, list):
        for value in found:
            yield from walk(value)


def schema_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema whose references are resolved within the document."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_the_document_describes_every_route_and_nothing_else(tmp_path: Path) -> None:
    options = ServeOptions(page=False, roots={"a": tmp_path}, state=tmp_path)
    service = Service(options, models=ModelPool(options))
    described = set(make_document(options)["paths"])
    served: set[str] = set()
    routes = list(create_app(service, v2=False).routes)
    for route in routes:
        inner = getattr(getattr(getattr(route, "app", None), "_app", None), "routes", None)
        paths = [route.path] if inner is None else [one.path for one in inner]  # type: ignore[attr-defined]
        served |= {re.sub(r":\w+}", "}", path) for path in paths}
    assert served == described


def test_the_document_is_consistent(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for part in walk(document):
        if "$ref" in part:
            found = document
            for word in part["$ref"].removeprefix("#/").split("/"):
                found = found[word]
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema({**schema, "components": {}})
        assert schema["type"] == "object", name
    ids = [part["operationId"] for part in walk(document) if "operationId" in part]
    assert len(ids) == len(set(ids))
    assert not any("jobs" in path for path in document["paths"])


def test_answers_are_as_the_document_says(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    made = client.post("/v1/restore", content=picture(), headers={"Accept": "application/json"})
    for name, answer in {
        "Restored": made,
        "Models": client.get("/v1/models"),
        "Status": client.get("/health/live"),
        "Problem": client.get("/v1/nothing"),
        "Meaning": client.get("/problems/starting"),
    }.items():
        jsonschema.validate(answer.json(), schema_of(document, name))


class SlowPool(ModelPool):
    """Models that open when the gate does."""

    def __init__(self, options: ServeOptions, error: Exception | None = None) -> None:
        super().__init__(options)
        self.gate = threading.Event()
        self.error = error

    def open(self) -> None:
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        self.adopt(restorer_on(NearestSession()))


def test_a_service_is_ready_when_its_networks_are_open() -> None:
    options = ServeOptions(page=False, port=0)
    pool = SlowPool(options)
    service = Service(options)
    service.models = pool

    with serving(service, wait=False) as client:
        assert client.get("/health/live").status_code == 200
        problem = problem_in(client.get("/health/ready"))
        assert (problem["code"], problem["status"]) == ("starting", 503)
        answer = client.post("/v1/restore", content=picture())
        assert problem_in(answer)["code"] == "starting"
        assert int(answer.headers["retry-after"]) >= 1
        pool.gate.set()
        until(service.opened.is_set)
        assert client.get("/health/ready").json() == {"status": "ready"}
        assert client.post("/v1/restore", content=picture()).status_code == 200


def test_a_model_that_cannot_be_opened_is_the_failure_of_the_service() -> None:
    options = ServeOptions(page=False, port=0)
    service, pool = Service(options), SlowPool(options, MissingModelError("not here"))
    service.models = pool
    pool.gate.set()
    with serving(service, wait=False) as client:
        while service.failure is None:
            assert client.get("/health/live").status_code == 200
        assert isinstance(service.failure, MissingModelError)
        assert problem_in(client.get("/health/ready"))["code"] == "starting"


def test_all_steps_of_the_end_share_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ended the process waits for that long before it is killed."""
    now = [100.0]
    monkeypatch.setattr("restora.serve.service.monotonic", lambda: now[0])
    service = service_on(NearestSession(), drain_timeout_s=30)
    assert service.left_s == 30
    service.refuse()
    now[0] += 20
    service.refuse()
    assert service.left_s == 10
    service.stop_waiting()
    assert service.left_s == 0
    now[0] += 20
    assert service.left_s == 0

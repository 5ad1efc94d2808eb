"""Facts about POST /v1/restore: the same pixels as the library, facts beside them, limits first."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from fakes import NearestSession
from restora import PhotoLimits, read_photo
from restora.errors import DeviceLostError, NonFiniteOutputError
from restora.serve import Service
from restora.serve.photos import PhotoWork
from restora.serve.tickets import Ticket
from restora.serve.tokens import ANONYMOUS
from restora.serve.uploads import Blob
from serve_rig import (
    GateSession,
    picture,
    problem_in,
    restorer_on,
    service_on,
    serving,
    until,
)


@pytest.fixture(scope="module")
def service() -> Service:
    return service_on(
        restorer_on(NearestSession(), faces=True, max_output_pixels=30_000),
        limits=PhotoLimits(max_pixels=10_000, max_file_bytes=100_000),
        memory_upload_bytes=2000,
    )


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with serving(service) as client:
        yield client


def post(client: httpx.Client, data: bytes, query: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/v1/restore{query}", content=data, headers=named)


def test_bytes_in_bytes_out_with_the_pixels_of_the_library(client: httpx.Client) -> None:
    answer = post(client, picture(), "?faces=false")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    expected = restorer_on(NearestSession()).restore(picture()).photo.pixels
    assert (read_photo(answer.content).pixels == expected).all()


def test_headers_tell_what_was_done(client: httpx.Client) -> None:
    headers = post(client, picture(), "?outscale=1.5").headers
    assert headers["x-restora-model"] == "tiny"
    assert headers["x-restora-precision"] == "fp32"
    assert headers["x-restora-backend"] == "given"
    assert headers["x-restora-scale"] == "1.5"
    assert headers["x-restora-input-size"] == "24x16"
    assert headers["x-restora-output-size"] == "36x24"
    assert headers["x-restora-faces-found"] == headers["x-restora-faces-restored"] == "1"
    stages = [entry.partition(";")[0].strip() for entry in headers["server-timing"].split(",")]
    assert stages == [
        "upload", "queue", "decode", "upsample", "detect", "faces", "paste", "encode", "total",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "query", "media_type"),
    [
        ("image/webp", "", "image/webp"),
        ("*/*", "?ext=jpg", "image/jpeg"),
        ("image/*", "", "image/png"),
        ("image/tiff", "?quality=50", "image/tiff"),
    ],
)
def test_accept_chooses_the_format_unless_a_parameter_does(
    client: httpx.Client, accept: str, query: str, media_type: str
) -> None:
    answer = post(client, picture(), query, accept=accept)
    assert answer.headers["content-type"] == media_type
    assert read_photo(answer.content).width == 48


def test_auto_is_the_format_of_the_input(client: httpx.Client) -> None:
    assert post(client, picture(format_="jpg")).headers["content-type"] == "image/jpeg"
    bitmap = io.BytesIO()
    Image.new("RGB", (8, 8)).save(bitmap, "BMP")
    assert post(client, bitmap.getvalue()).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "application/octet-stream", "image/jpeg", "", "?"],
)
def test_the_content_decides_and_not_its_type(client: httpx.Client, content_type: str) -> None:
    """`curl --data-binary` calls everything a form."""
    assert post(client, picture(), content_type=content_type).status_code == 200


def test_a_form_may_carry_the_photo_and_parameters(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/restore?ext=jpg",
        files={"photo": ("x.png", picture())},
        data={"outscale": "1", "parameters": '{"faces": false}'},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-restora-output-size"] == "24x16"
    assert "x-restora-faces-found" not in answer.headers


def test_json_has_all_facts_and_a_link_to_the_result(client: httpx.Client) -> None:
    answer = post(client, picture(), accept="application/json", x_request_id="my-own.id_1")
    facts: dict[str, Any] = answer.json()
    assert facts["id"] == answer.headers["x-request-id"] == "my-own.id_1"
    size = len(picture())
    header = {"width": 24, "height": 16, "format": "PNG", "bits": 8, "bytes": size}
    assert facts["input"] == header
    assert {**facts["output"], "bytes": 0} == {
        "width": 48, "height": 32, "format": "png", "bytes": 0,
    }  # fmt: skip
    (face,) = facts["faces"].pop("list")
    assert face["status"] == "restored"
    assert len(face["box"]) == 4
    assert facts["faces"] == {
        "model": "tiny", "found": 1, "restored": 1, "skipped": 0, "failed": 0, "error": None,
    }  # fmt: skip
    assert facts["seconds"]["total"] >= facts["seconds"]["upsample"]
    kept = client.get(facts["result"]["href"])
    assert kept.headers["content-type"] == facts["result"]["type"] == "image/png"
    assert len(kept.content) == facts["result"]["bytes"] == facts["output"]["bytes"]
    assert kept.headers["cache-control"].startswith("private, max-age=")
    head = client.head(facts["result"]["href"])
    assert head.status_code == 200
    assert head.headers["content-length"] == kept.headers["content-length"]
    assert client.delete(facts["result"]["href"]).status_code == 204
    assert problem_in(client.get(facts["result"]["href"]))["code"] == "not-found"


def test_an_aligned_face_is_restored_at_the_size_of_the_network(client: httpx.Client) -> None:
    headers = post(client, picture(64, 64), "?aligned=true").headers
    assert headers["x-restora-output-size"] == "512x512"


def test_uploads_and_results_on_disk_are_gone_with_the_answer(
    client: httpx.Client, service: Service
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert len(stream.getvalue()) > service.options.memory_upload_bytes
    answer = post(client, stream.getvalue(), "?faces=false")
    assert (read_photo(answer.content).pixels == noise.repeat(2, 0).repeat(2, 1)).all()
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"hello", "unknown-format", 415),
        (picture()[:60], "truncated-image", 422),
        (picture(101, 100), "image-too-large", 413),
        (picture(95, 95), "image-too-large", 413),
        (b"x" * 100_001, "file-too-large", 413),
        (b"", "request", 400),
    ],
    ids=["text", "cut", "pixels", "output pixels", "bytes", "empty"],
)
def test_what_cannot_be_restored_is_a_typed_problem(
    client: httpx.Client, service: Service, data: bytes, code: str, status: int
) -> None:
    problem = problem_in(post(client, data))
    assert (problem["code"], problem["status"]) == (code, status)
    assert "/tmp" not in problem["detail"]
    assert client.get(problem["type"]).json()["status"] == status
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?outscale=0", {}, "option"),
        ("?nothing=1", {}, "option"),
        ("?model=absent", {}, "unknown-model"),
        ("", {"accept": "text/html"}, "not-acceptable"),
        ("", {"x-restora-deadline": "soon"}, "option"),
        ("", {"x-restora-deadline": "nan"}, "option"),
        ("", {"content-type": "application/json"}, "unsupported-media-type"),
        ("", {"content-type": "multipart/form-data"}, "request"),
        ("?ext=jpg&outscale=3000", {}, "image-too-large"),
    ],
)
def test_a_wrong_request_is_a_typed_problem(
    client: httpx.Client, query: str, headers: dict[str, str], code: str
) -> None:
    answer = client.post(f"/v1/restore{query}", content=picture(), headers=headers)
    assert problem_in(answer)["code"] == code


def test_parameters_in_the_body_of_a_form_are_checked_too(client: httpx.Client) -> None:
    answer = client.post("/v1/restore", files={"photo": picture()}, data={"quality": "0"})
    assert problem_in(answer)["code"] == "option"


def test_paths_and_methods_that_do_not_exist_are_problems(client: httpx.Client) -> None:
    assert problem_in(client.get("/v1/nothing"))["code"] == "not-found"
    answer = client.get("/v1/restore")
    assert problem_in(answer)["code"] == "method-not-allowed"
    assert answer.headers["allow"] == "POST"
    answer = client.put("/v1/results/x")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


def test_a_declared_length_above_the_limit_is_refused_before_the_body(
    client: httpx.Client,
) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
        raw.sendall(
            b"POST /v1/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_model_that_is_not_open_is_refused_before_the_body(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
        raw.settimeout(20)
        raw.sendall(
            b"POST /v1/restore?model=absent HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 404 ")


def test_faces_are_refused_where_there_is_no_face_model() -> None:
    with serving(service_on(NearestSession())) as client:
        assert problem_in(post(client, picture(), "?faces=true"))["code"] == "missing-model"
        assert "x-restora-faces-found" not in post(client, picture()).headers


def test_tiles_of_many_requests_share_batches() -> None:
    session = GateSession()
    service = service_on(session)
    with serving(service) as client, ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(post, client, picture()) for _ in range(3)]
        until(lambda: service.queue.running == 3)
        session.open()
        assert [answer.result().status_code for answer in answers] == [200] * 3


def test_a_full_queue_answers_503_at_once_while_the_others_finish() -> None:
    session = GateSession()
    service = service_on(session, queue=1)
    with serving(service) as client, ThreadPoolExecutor(40) as threads:
        workers = service.queue.limits.workers
        admitted = []
        for _ in range(workers):
            admitted.append(threads.submit(post, client, picture()))
            until(lambda: service.queue.running == len(admitted))
        admitted.append(threads.submit(post, client, picture()))
        until(lambda: service.queue.waiting == 1)
        answer = post(client, picture())
        problem = problem_in(answer)
        assert problem["code"] == "queue-full"
        assert int(answer.headers["retry-after"]) == problem["retry_after"] >= 1
        metrics = client.get("/metrics").text
        assert 'restora_refused_total{reason="queue-full"} 1.0' in metrics
        session.open()
        assert {one.result().status_code for one in admitted} == {200}


def test_a_deadline_answers_504_and_ends_the_work_between_tiles() -> None:
    session = GateSession()
    service = service_on(restorer_on(session, tile=16))
    with serving(service) as client:
        answer = post(client, picture(128, 128), x_restora_deadline="0.3")
        assert problem_in(answer)["code"] == "deadline-exceeded"
        tiles = len(session.shapes)
        session.permits.release(4)
        until(lambda: service.queue.running == 0)
        assert len(session.shapes) <= tiles + 4
        metrics = client.get("/metrics").text
        assert 'restora_dropped_total{reason="deadline-exceeded"} 1.0' in metrics


def test_a_deadline_holds_while_the_header_of_the_photo_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Headers of files that are made to take long are read one after another."""
    may_read = threading.Event()

    def read(work: PhotoWork, source: object) -> None:
        assert may_read.wait(60)

    monkeypatch.setattr(PhotoWork, "probe", read)
    service = service_on(NearestSession())
    with serving(service) as client:
        answer = post(client, picture(), x_restora_deadline="0.2")
        assert problem_in(answer)["code"] == "deadline-exceeded"
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/restore", content=picture(), timeout=0.2)
        until(lambda: not service.tickets)
        may_read.set()


def test_progress_ends_with_its_request_whatever_a_worker_still_does() -> None:
    ticket = Ticket("abc", ANONYMOUS)
    ticket.end("deadline-exceeded")
    ticket.state = "decoding"  # by a worker that checked the deadline before
    assert ticket.shown_state == "failed"
    restored = Ticket("abc", ANONYMOUS)
    restored.state = "encoding"
    states = [restored.shown_state]
    restored.end()
    assert [*states, restored.shown_state] == ["encoding", "done"]


def test_a_disk_that_is_slow_holds_up_its_own_request_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writing, may_write, write = threading.Event(), threading.Event(), Blob.write

    def slow_write(blob: Blob, part: bytes) -> None:
        writing.set()
        assert may_write.wait(60)
        write(blob, part)

    monkeypatch.setattr(Blob, "write", slow_write)
    service = service_on(NearestSession(), memory_upload_bytes=0)
    with serving(service) as client, ThreadPoolExecutor(2) as threads:
        answers = [
            threads.submit(post, client, picture()),
            threads.submit(client.post, "/v1/restore", files={"photo": picture()}),
        ]
        try:
            assert writing.wait(60)
            assert client.get("/health/live", timeout=5).status_code == 200
        finally:
            may_write.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]


def test_a_client_that_goes_ends_its_work_between_tiles() -> None:
    session = GateSession()
    service = service_on(restorer_on(session, tile=16))
    with serving(service) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/restore", content=picture(128, 128), timeout=0.3)
        until(lambda: not service.tickets)
        session.permits.release(4)
        until(lambda: service.queue.running == 0)
        assert len(session.shapes) <= 4
        session.open()
        assert post(client, picture()).status_code == 200


def test_progress_of_a_request_can_be_followed() -> None:
    session = GateSession()
    service = service_on(restorer_on(session, tile=16))
    with serving(service) as client, ThreadPoolExecutor(1) as threads:
        lines: list[str] = []
        answer = threads.submit(post, client, picture(64, 64), x_request_id="abc")
        with client.stream("GET", "/v1/progress/abc") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            for line in events.iter_lines():
                lines.append(line)
                if '"total": 16384' in line:
                    session.open()
                session.permits.release()
        assert answer.result().status_code == 200
        assert lines[0] == "event: progress"
        assert any('"state": "restoring"' in line for line in lines)
        assert '"state": "done"' in lines[-2]


def test_asking_for_the_headers_of_events_does_not_wait_for_their_end() -> None:
    session = GateSession()
    service = service_on(session)
    with serving(service) as client, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, client, picture(), x_request_id="abc")
        until(lambda: "abc" in [ticket.request_id for ticket in service.tickets.values()])
        head = client.head("/v1/progress/abc")
        assert head.headers["content-type"].startswith("text/event-stream")
        # the same connection is free for the next request
        assert client.get("/health/live").status_code == 200
        assert not answer.done()
        session.open()
        assert answer.result().status_code == 200


def test_an_error_of_the_network_is_typed_and_the_next_photo_is_restored() -> None:
    session = GateSession(is_open=True)
    with serving(service_on(session)) as client:
        session.error = NonFiniteOutputError("NaN")
        assert problem_in(post(client, picture()))["code"] == "non-finite-output"
        session.error = KeyError("a bug in /home/me")
        problem = problem_in(post(client, picture()))
        assert problem["code"] == "internal"
        assert "/home" not in problem["detail"]
        session.error = None
        assert post(client, picture()).status_code == 200


def test_a_lost_gpu_makes_the_service_neither_live_nor_ready() -> None:
    session = GateSession(is_open=True)
    with serving(service_on(session)) as client:
        assert client.get("/health/live").json() == {"status": "live"}
        session.error = DeviceLostError("gone")
        assert problem_in(post(client, picture()))["code"] == "device-lost"
        assert client.get("/health/live").status_code == 503
        assert client.get("/health/ready").status_code == 503


def test_a_slow_upload_is_ended() -> None:
    service = service_on(NearestSession(), upload_timeout_s=0.2)
    go = threading.Event()

    def body() -> Iterator[bytes]:
        yield picture()[:20]
        go.wait(60)
        yield picture()[20:]

    with serving(service) as client, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.post, "/v1/restore", content=body())
        until(lambda: service.tickets)
        until(lambda: not service.tickets)
        go.set()
        assert problem_in(answer.result())["code"] == "upload-timeout"

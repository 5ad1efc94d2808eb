"""Facts about a service under attack and after a crash: every request is answered, jobs go on."""

from __future__ import annotations

import io
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from fakes import NearestSession
from restora import Photo, write_photo
from restora.serve import protocol, run
from restora_tools.service.crowd import send_crowd
from restora_tools.service.server import Server, serve
from serve_rig import WAIT_S, command, picture, problem_in, service_on, serving, until


@pytest.mark.slow
def test_a_thousand_uploads_at_once_are_answered_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture(160, 120, format_="jpg"))
    service = service_on(NearestSession(), queue=64)
    with serving(service) as client:
        address = str(client.base_url)
        found = send_crowd(address, tmp_path / "photo.jpg", count=1000, odd_share=0.1)
        assert sum(sum(counts.values()) for counts in found.values()) == 1000
        assert set(found["good"]) <= {"200", "503 queue-full"}
        assert set(found["slow"]) <= {"200", "503 queue-full"}
        assert set(found["broken"]) <= {"422 truncated-image", "503 queue-full"}
        assert set(found["aborted"]) == {"aborted"}
        assert found["good"]["200"] > 30
        until(lambda: not service.tickets and not service.queue.running)
        assert list(service.spool.iterdir()) == []
        assert client.post("/v1/restore", content=picture()).status_code == 200


@pytest.mark.slow
def test_a_server_that_was_killed_goes_on_with_its_jobs(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "in"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(picture(900, 700, format_="jpg"))
    words = ("--root", f"photos={tmp_path / 'photos'}", "--state", str(tmp_path / "state"))
    out = tmp_path / "photos" / "out"
    with command(tmp_path, *words) as (process, client):
        job = {"kind": "folder", "input": "photos/in", "output": "photos/out"}
        href = client.post("/v1/jobs", json=job).headers["location"]
        until(lambda: len(list(out.glob("*.jpg"))) >= 2)
        process.kill()
        process.wait(WAIT_S)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.jpg")}
    with command(tmp_path, *words) as (_, client):
        until(lambda: client.get(href).json()["state"] == "done")
        job = client.get(href).json()
        assert job["resumed"] == 1
        assert job["progress"]["done"] + job["progress"]["skipped"] == 12
        assert job["progress"]["failed"] == 0
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.jpg")}
    assert len(after) == 12
    # the one that was being written when the server was killed may be made again
    assert sum(after[name] != made for name, made in before.items()) <= 1


@pytest.mark.slow
def test_the_whole_process_stays_below_its_memory_limit(tmp_path: Path) -> None:
    """Each of the photos needs 250 MB or more; without the limit all of them are in progress."""
    large = picture(3000, 2000, format_="jpg")
    with (
        command(tmp_path, "--memory", "700M") as (process, client),
        ThreadPoolExecutor(6) as threads,
    ):
        server = Server(str(client.base_url), process)
        answers = [threads.submit(client.post, "/v1/restore", content=large) for _ in range(6)]
        peak = 0
        while not all(answer.done() for answer in answers):
            peak = max(peak, server.memory_mb())
        assert {answer.result().status_code for answer in answers} == {200}
        assert 250 < peak < 700
        huge = picture(6000, 5000, format_="jpg")
        assert problem_in(client.post("/v1/restore", content=huge))["code"] == "memory-limit"


def exchange(client: httpx.Client, data: bytes) -> bytes:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=WAIT_S) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(1 << 16):
            found += part
    return found


def test_what_is_no_http_gets_a_problem_and_a_closed_connection() -> None:
    with serving(service_on(NearestSession())) as client:
        for data in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nno header\r\n\r\n"):
            answer = exchange(client, data)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"Content-Type: application/problem+json" in answer
            assert b'"code": "request"' in answer
        assert client.get("/health/live").status_code == 200


def test_a_connection_that_sends_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_HEADERS_S", 0.05)
    with serving(service_on(NearestSession())) as client:
        assert exchange(client, b"GET /health/live HTTP/1.1\r\nHost: ") == b""
        assert client.get("/health/live").status_code == 200


def test_a_connection_that_stops_within_a_later_request_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first byte ends the time for which idle connections are kept."""
    monkeypatch.setattr(protocol, "_HEADERS_S", 0.2)
    with serving(service_on(NearestSession())) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=10) as connection:
            for _ in range(2):
                connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                found = b""
                while b'"live"}' not in found:
                    found += connection.recv(1 << 16)
            connection.sendall(b"GET /health/live HTTP/1.1\r\n")
            assert connection.recv(1 << 16) == b""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends such connections")
def test_a_client_that_does_not_take_its_answer_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_SEND_S", 0.5)
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    stream = io.BytesIO()
    write_photo(Photo(noise), stream, format="png")
    head = (
        "POST /v1/restore?ext=tiff HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {stream.tell()}\r\n\r\n"
    )
    with serving(service_on(NearestSession())) as client, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((client.base_url.host, client.base_url.port or 0))
        connection.sendall(head.encode() + stream.getvalue())

        def is_reset() -> bool:
            try:
                connection.send(b"G")
            except ConnectionError:
                return True
            return False

        until(is_reset)


def test_an_answer_arrives_although_the_client_is_still_sending() -> None:
    """Closing a connection with unread data would reset it."""
    with serving(service_on(NearestSession())) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=WAIT_S) as connection:
            head = "POST /v1/restore?tile=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            connection.sendall(f"{head}Content-Length: 400000\r\n\r\n".encode())
            until(lambda: b" 400 " in connection.recv(20, socket.MSG_PEEK))
            for _ in range(4):
                connection.sendall(bytes(100_000))
            found = b""
            while part := connection.recv(1 << 16):
                found += part
        assert b'"code": "option"' in found


def test_a_request_that_was_refused_leaves_the_connection_usable() -> None:
    with serving(service_on(NearestSession())) as client:
        for _ in range(3):
            answer = client.post("/v1/restore?tile=1", content=picture())
            assert problem_in(answer)["code"] == "option"
            assert client.post("/v1/restore", content=picture()).status_code == 200


@pytest.mark.slow
def test_the_tool_that_serves_waits_until_the_server_is_ready() -> None:
    with serve("--no-page", "--backend", "cpu") as server:
        assert httpx.get(f"{server.address}/health/ready").status_code == 200
        assert server.memory_mb() > 20
        assert server.metric("restora_ready") == 1
        assert server.metric("absent") == 0
        assert isinstance(server.process, subprocess.Popen)

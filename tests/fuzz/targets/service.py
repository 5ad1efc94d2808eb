"""Requests to the service, as bytes on a connection: each is answered, refused with a typed problem
or dropped; nothing is left behind, and the next request is served.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import uvicorn

from fakes import NearestSession
from fuzz.mutate import draw_integer, mutate_bytes
from fuzz.target import Input, Target
from restora import PhotoLimits
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.serve import Service
from restora.serve.run import listen, make_server
from serve_rig import face_stage, picture, service_on, until

_WAIT_S = 20.0
_PAUSE_S = 0.05
_KEEP_BYTES = 1 << 20  # more than any result has
_TOKEN = "0123456789abcdef"
_METHODS = (b"GET", b"POST", b"DELETE", b"HEAD", b"PUT", b"OPTIONS", b"PATCH", b"BREW", b"")
_PATHS = (
    b"/v1/restore", b"/v1/results/x", b"/v1/progress/x", b"/v1/models", b"/v1/jobs",
    b"/v1/jobs/x", b"/v1/jobs/x/files/1", b"/v1/jobs/x/events", b"/health/live", b"/metrics",
    b"/openapi.json", b"/problems/internal", b"/../etc/passwd", b"//x", b"/%00", b"*", b"",
    b"http://other/v1/models", b"/v1/restore/", b"/" + b"a" * 5000,
)  # fmt: skip
_QUERIES = (
    b"outscale=1", b"outscale=nan", b"outscale=1e9", b"quality=0", b"ext=jpg", b"ext=gif",
    b"faces=true", b"faces=2", b"model=absent", b"a=b", b"=", b"&&&", b"%", b"%ff=%ff",
    b"aligned=1", b"alpha-upsampler=bilinear", b"quality=1&quality=2", b"tile=1",
)  # fmt: skip
_VALUES = (
    b"", b"0", b"-1", b"1", b"nan", b"\xff\xfe", b"a" * 9000, b"image/png", b"application/json",
    b"multipart/form-data", b"multipart/form-data; boundary=XX", b"text/html", b"Bearer",
    b"Bearer " + _TOKEN.encode(), b"chunked", b"identity, chunked", b"gzip", b"100-continue",
    b"close", b"upgrade", b"websocket", b"evil.example", b"https://evil.example", b"99999999999",
)  # fmt: skip
_NAMES = (
    b"Accept", b"Content-Type", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"Host",
    b"Expect", b"Connection", b"Upgrade", b"Origin", b"X-Request-Id", b"X-Restora-Deadline",
    b"Last-Event-ID", b"X-Odd", b"Cookie", b"",
)  # fmt: skip


def make_seeds() -> dict[str, Input]:
    photo, form = picture(), _form(picture())
    job = json.dumps({"kind": "folder", "input": "a/in", "output": "a/out"}).encode()
    multipart = b"multipart/form-data; boundary=XX"
    requests = {
        "photo": _request(b"POST", b"/v1/restore", photo),
        "facts": _request(b"POST", b"/v1/restore", photo, Accept=b"application/json"),
        "jpeg": _request(b"POST", b"/v1/restore?outscale=1&ext=webp", picture(format_="jpg")),
        "form": _request(b"POST", b"/v1/restore", form, Content_Type=multipart),
        "chunks": _chunked(photo),
        "deadline": _request(b"POST", b"/v1/restore", photo, X_Restora_Deadline=b"5"),
        "aligned": _request(b"POST", b"/v1/restore?aligned=true", photo),
        "broken": _request(b"POST", b"/v1/restore", photo[:70]),
        "models": _request(b"GET", b"/v1/models", b""),
        "metrics": _request(b"GET", b"/metrics", b""),
        "job": _request(b"POST", b"/v1/jobs", job, Content_Type=b"application/json"),
        "two": _request(b"GET", b"/v1/models", b"") + _request(b"POST", b"/v1/restore", photo),
    }
    return {name: Input(".http", data) for name, data in requests.items()}


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    """The line, a header, the body, or bytes of all of it."""
    head, mark, body = one.data.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.random()
        if kind < 0.25:
            line = _mutate_line(line, rng)
        elif kind < 0.55:
            headers = _mutate_headers(headers, rng)
        elif kind < 0.9:
            splice = [other.data.partition(b"\r\n\r\n")[2] for other in others]
            body = mutate_bytes(body, rng, splice)
            if rng.random() < 0.8:
                headers = [_with_length(header, body) for header in headers]
        else:
            raw = b"\r\n".join([line, *headers]) + mark + body
            return Input(".http", mutate_bytes(raw, rng, [other.data for other in others]))
    return Input(".http", b"\r\n".join([line, *headers]) + mark + body)


def check(path: Path) -> str:
    service, port = _serve()
    statuses = []
    for status, headers, body in _split(_exchange(port, path.read_bytes())):
        statuses.append(status)
        assert status < 500 or status in (501, 503, 504), f"{status}: {body[:300]!r}"
        if b"application/problem+json" in headers.lower():
            problem = json.loads(body)
            assert problem["status"] == status
            assert re.fullmatch(r"[a-z-]+", problem["code"])
            assert "/tmp" not in problem["detail"]
            assert "Traceback" not in problem["detail"]
    _check_rest(service)
    return " ".join(map(str, statuses[:3])) or "no answer"


def _check_rest(service: Service) -> None:
    """Nothing is left of a request that has ended."""
    latest = time.monotonic() + _WAIT_S
    while service.queue.running or service.queue.waiting or service.tickets:
        assert time.monotonic() < latest, "a request does not end"
        time.sleep(0.001)
    assert service.kept.bytes <= _KEEP_BYTES, "results are kept beyond their limit"
    left = [path for path in service.spool.iterdir() if path.is_file()]
    assert len(left) <= len(service.kept), f"files are left: {left[:3]}"


@cache
def _serve() -> tuple[Service, int]:
    """In this process, with a face that is found in each photo."""
    options = RestoreOptions(sharing="fair")
    restorer = Restorer.from_session(NearestSession(), options=options, faces=face_stage())
    service = service_on(
        restorer,
        limits=PhotoLimits(max_pixels=20_000, max_file_bytes=1 << 18, max_decode_s=10),
        restore=RestoreOptions(max_output_pixels=200_000),
        memory_upload_bytes=500,
        upload_timeout_s=2.0,
        keep_bytes=_KEEP_BYTES,
        spool=Path(tempfile.gettempdir()),
    )
    listener = listen(service.options)
    server: uvicorn.Server = make_server(service, v2=False)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    until(service.opened.is_set)
    assert service.failure is None
    return service, int(listener.getsockname()[1])


def _exchange(port: int, data: bytes) -> bytes:
    """Send all of it, and nothing more once an answer has come, or none comes for a while; what
    comes back until the server closes."""
    found, part = b"", b"first"
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.settimeout(_PAUSE_S)
            while part and not _split(found):
                part = connection.recv(1 << 16)
                found += part
        with contextlib.suppress(OSError):
            connection.settimeout(_WAIT_S)
            connection.shutdown(socket.SHUT_WR)
            while part:
                part = connection.recv(1 << 16)
                found += part
    return found


def _split(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """The answers in what came back: status, headers and body of each that is complete."""
    found = []
    while data.startswith(b"HTTP/1.1 "):
        head, mark, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if not mark or length is None:
            found.append((int(head[9:12]), head, b""))
            break
        size = 0 if head[9:12] in (b"204", b"304") else int(length[1])
        found.append((int(head[9:12]), head, data[:size]))
        if len(data) < size or data.startswith(b"HTTP/1.1 "):  # a HEAD, or cut off
            found[-1] = (found[-1][0], b"", b"")
            size = 0 if data.startswith(b"HTTP/1.1 ") else size
        data = data[size:]
    return found


def _request(method: bytes, path: bytes, body: bytes, **headers: bytes) -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: 127.0.0.1"]
    lines += [name.replace("_", "-").encode() + b": " + value for name, value in headers.items()]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _chunked(body: bytes) -> bytes:
    head = b"POST /v1/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [body[start : start + 100] for start in range(0, len(body), 100)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


def _form(photo: bytes) -> bytes:
    parts = ((b'name="quality"', b"80"), (b'name="photo"; filename="a.png"', photo),
             (b'name="parameters"', b'{"outscale": 1.5, "faces": false}'))  # fmt: skip
    body = b"".join(
        b"--XX\r\nContent-Disposition: form-data; " + name + b"\r\n\r\n" + value + b"\r\n"
        for name, value in parts
    )
    return body + b"--XX--\r\n"


def _mutate_line(line: bytes, rng: Random) -> bytes:
    method, _, rest = line.partition(b" ")
    path, _, version = rest.rpartition(b" ")
    kind = rng.random()
    if kind < 0.25:
        method = rng.choice(_METHODS)
    elif kind < 0.5:
        path = rng.choice(_PATHS)
    elif kind < 0.9:
        path += (b"&" if b"?" in path else b"?") + rng.choice(_QUERIES)
    else:
        version = rng.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"x"))
    return method + b" " + path + b" " + version


def _mutate_headers(headers: list[bytes], rng: Random) -> list[bytes]:
    headers = list(headers)
    position = rng.randrange(len(headers) + 1)
    kind = rng.random()
    if kind < 0.2 and headers:
        del headers[position - 1]
    elif kind < 0.4 and headers:
        name = headers[position - 1].partition(b":")[0]
        headers[position - 1] = name + b": " + rng.choice(_VALUES)
    elif kind < 0.5:
        headers.insert(
            position, b"Content-Length: %d" % draw_integer(rng, rng.choice((1, 2, 4, 8)))
        )
    elif kind < 0.55:
        headers += [b"X-Many: 1"] * rng.choice((10, 200))
    else:
        headers.insert(position, rng.choice(_NAMES) + b": " + rng.choice(_VALUES))
    return headers


def _with_length(header: bytes, body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body) if header.startswith(b"Content-Length") else header


TARGET = Target(make_seeds, mutate, check, memory_mb=128, weight=1.0)

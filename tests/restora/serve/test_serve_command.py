"""Facts about `restora serve`: what it refuses, and how it ends."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from processes import run
from restora.serve import ServeOptions
from restora.serve.run import listen
from serve_rig import WAIT_S, command, picture, problem_in, until


def test_sigterm_finishes_what_is_begun_and_exits_with_0(tmp_path: Path) -> None:
    with (
        command(tmp_path) as (process, client),
        ThreadPoolExecutor(1) as threads,
    ):
        large = picture(2400, 2000, format_="jpg")
        answer = threads.submit(client.post, "/v1/restore", content=large)
        until(lambda: "restora_in_flight 1.0" in client.get("/metrics").text or answer.done())
        process.send_signal(signal.SIGTERM)
        assert answer.result(WAIT_S).status_code == 200
        assert process.wait(WAIT_S) == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/health/live")


@pytest.mark.slow
def test_a_server_that_drains_with_a_delay_is_not_ready_and_still_takes_requests(
    tmp_path: Path,
) -> None:
    with command(tmp_path, "--drain-delay", "60") as (process, client):
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/health/ready").status_code == 503)
        assert problem_in(client.get("/health/ready"))["code"] == "draining"
        assert client.get("/health/live").status_code == 200
        assert client.post("/v1/restore", content=picture()).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_a_second_signal_ends_requests_calls_and_jobs_at_once(tmp_path: Path) -> None:
    grpc = pytest.importorskip("tritonclient.grpc")
    folder = tmp_path / "photos" / "in"
    folder.mkdir(parents=True)
    large = picture(4000, 3000, format_="jpg")
    (folder / "large.jpg").write_bytes(large)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("--root", f"photos={tmp_path / 'photos'}", "--state", str(tmp_path / "state"),
             "--grpc-port", str(port), "--drain-timeout", "600")  # fmt: skip
    with (
        command(tmp_path, *words) as (process, client),
        ThreadPoolExecutor(1) as threads,
        grpc.InferenceServerClient(f"127.0.0.1:{port}") as calls,
    ):
        answered = threading.Event()
        tensor = grpc.InferInput("image", [1, 4, 4, 3], "UINT8")
        tensor.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.uint8))
        calls.start_stream(lambda result, error: answered.set())
        calls.async_stream_infer("tiny", [tensor])
        assert answered.wait(WAIT_S)  # the stream stays open
        job = {"kind": "folder", "input": "photos/in", "output": "photos/out"}
        href = client.post("/v1/jobs", json=job).headers["location"]
        until(lambda: client.get(href).json()["state"] == "running")
        answer = threads.submit(client.post, "/v1/restore", content=large)
        until(lambda: "restora_in_flight 1.0" in client.get("/metrics").text)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "finishing requests" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert problem_in(answer.result())["code"] == "abandoned"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "give a file of bearer tokens"),
        (["--root", "photos"], "--root is written NAME=DIR"),
        (["--root", "a=.", "--root", "a=."], "--root a is given twice"),
        (["--root", "a=absent", "--state", "state"], "must be a folder"),
        (["--root", "a=."], "jobs need a folder that they are recorded in"),
        (["--root", "a/b=."], "a root's name must consist of"),
        (["--cors", "example.org"], "an origin is written like"),
        (["--rate-limit", "often"], "a rate is written like"),
        (["--deadline", "0"], "deadline_s must be above 0"),
        (["--tokens", "absent"], "the tokens cannot be read"),
        (["-n", ","], "a service needs at least one model"),
        (["--keep-size", "much"], "a size is written like"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, words: list[str], message: str) -> None:
    done = run(tmp_path, "serve", "--no-faces", "--port", "0", *words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_a_model_that_is_not_there_ends_the_server(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "-n", "absent.onnx", "--no-faces", "--port", "0", "--no-page")
    assert done.returncode == 5
    assert "absent.onnx" in done.stderr


def test_a_port_in_use_is_a_usage_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run(tmp_path, "serve", "--no-faces", "--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen at 127.0.0.1:{port}" in done.stderr


def test_answers_are_sent_without_waiting_for_more(tmp_path: Path) -> None:
    """asyncio sets TCP_NODELAY on connections of a socket that names its protocol, and no other."""
    with listen(ServeOptions(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.cli.serve.find_spec", lambda name: None)
    done = run(tmp_path, "serve")
    assert done.returncode == 6
    assert "pip install 'restora[serve]'" in done.stderr

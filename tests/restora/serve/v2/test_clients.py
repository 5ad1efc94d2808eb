"""Facts about the Open Inference Protocol of a service: tritonclient over HTTP and gRPC."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import tiny_artifact
from restora import Restorer, open_session
from restora.backends import SessionOptions
from restora.errors import UnknownModelError
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora.serve.tickets import Ticket
from restora.serve.v2.networks import NetworkTable
from v2_service import HeldSession, Served, serving

grpc = pytest.importorskip("tritonclient.grpc")
http_client = pytest.importorskip("tritonclient.http")

# geventhttpclient and its packages
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RNG = np.random.default_rng(11)
OPTIONS = RestoreOptions(backend="cpu", precision="fp32")
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    face: dict[str, Any] = {"kind": "face", "scale": 1, "side": 64, "size_multiple": 1}
    for name, artifact in {
        "tiny.onnx": tiny_artifact(),
        "tiny.float32.onnx": tiny_artifact(io="float32"),
        "face.onnx": tiny_artifact(**face, model="face", gain=0.5),
    }.items():
        (folder / name).write_bytes(artifact.onnx)
    return folder


def open_real(folder: Path) -> Restorer:
    faces = FaceOptions(model=folder / "face.onnx", detector="centerface")
    restorer = Restorer(folder / "tiny.onnx", options=OPTIONS, faces=faces)
    restorer.restore(RNG.integers(0, 256, (8, 8), np.uint8))  # gray opens the float32 network
    return restorer


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(lambda: open_real(folder), tmp_path_factory.mktemp("spool")) as found:
        yield found


@contextmanager
def client_of(served: Served, kind: str) -> Iterator[Any]:
    module = grpc if kind == "grpc" else http_client
    address = served.grpc if kind == "grpc" else served.http
    with module.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(params=["grpc", "http"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tensor_of(kind: str, batch: Any, name: str = "image", **how: Any) -> Any:
    module = grpc if kind == "grpc" else http_client
    datatype = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}[str(batch.dtype)]
    tensor = module.InferInput(name, list(batch.shape), datatype)
    tensor.set_data_from_numpy(batch, **how)
    return tensor


def error_of(kind: str, work: Callable[[], Any]) -> tuple[str, str]:
    """Status and message of the error that a client raises."""
    module = grpc if kind == "grpc" else http_client
    with pytest.raises(module.InferenceServerException) as caught:
        work()
    return str(caught.value.status()), str(caught.value.message())


def as_dict(kind: str, answer: Any) -> Any:
    if kind == "http":
        return answer
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer, preserving_proto_field_name=True)


def test_the_server_says_what_it_is(served: Served, kind: str) -> None:
    with client_of(served, kind) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        metadata = as_dict(kind, client.get_server_metadata())
    assert metadata["name"] == "restora"
    assert "binary_tensor_data" in metadata["extensions"]


def test_the_open_networks_are_models_with_tensors(served: Served, kind: str) -> None:
    with client_of(served, kind) as client:
        index = as_dict(kind, client.get_model_repository_index())
        rows = index if kind == "http" else index["models"]
        assert {row["name"] for row in rows} == {"tiny", "tiny.float32", "face"}
        assert client.is_model_ready("face", "1")
        metadata = as_dict(kind, client.get_model_metadata("tiny.float32"))
        config = as_dict(kind, client.get_model_config("face"))
    shape = [str(size) if kind == "grpc" else size for size in (-1, -1, -1, 3)]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": shape}]
    config = config["config"] if kind == "grpc" else config
    assert config["max_batch_size"] == 64
    assert [int(size) for size in config["input"][0]["dims"]] == [64, 64, 3]
    assert config["input"][0]["data_type"] == "TYPE_UINT8"


@pytest.mark.parametrize("name", ["tiny", "tiny.float32", "face"])
def test_a_network_gives_what_its_session_gives(
    served: Served, folder: Path, kind: str, name: str
) -> None:
    size = (2, 64, 64, 3) if name == "face" else (3, 10, 14, 3)
    batch = RNG.integers(0, 256, size, np.uint8)
    given = (batch / 255).astype(np.float32) if name == "tiny.float32" else batch
    with client_of(served, kind) as client:
        restored = client.infer(name, [tensor_of(kind, given)], request_id="7")
    session = open_session(folder / f"{name}.onnx", options=SessionOptions(backend="cpu"))
    assert (restored.as_numpy("restored") == session.run(given)).all()
    answer = restored.get_response()
    assert (answer["id"] if kind == "http" else answer.id) == "7"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_http_tensors_travel_as_bytes_or_as_json(
    served: Served, binary_in: bool, binary_out: bool
) -> None:
    batch = RNG.integers(0, 256, (1, 6, 8, 3), np.uint8)
    output = http_client.InferRequestedOutput("restored", binary_data=binary_out)
    with client_of(served, "http") as client:
        found = client.infer(
            "tiny", [tensor_of("http", batch, binary_data=binary_in)], outputs=[output]
        )
        expected = client.infer("tiny", [tensor_of("http", batch)])
    assert (found.as_numpy("restored") == expected.as_numpy("restored")).all()
    assert ("data" in found.get_response()["outputs"][0]) == (not binary_out)


def test_a_stream_answers_each_request_and_errors_cost_their_own_alone(served: Served) -> None:
    answers: list[tuple[Any, Any]] = []
    done = threading.Event()

    def take(result: Any, error: Any) -> None:
        answers.append((result, error))
        if len(answers) == 3:
            done.set()

    batch = RNG.integers(0, 256, (1, 6, 8, 3), np.uint8)
    with client_of(served, "grpc") as client:
        client.start_stream(take)
        for name in ("tiny", "nobody", "tiny"):
            client.async_stream_infer(name, [tensor_of("grpc", batch)])
        assert done.wait(60)
        client.stop_stream()
    assert [error is None for _, error in answers] == [True, False, True]
    assert "no network 'nobody'" in answers[1][1].message()
    assert answers[2][0].as_numpy("restored").shape == (1, 12, 16, 3)


def test_an_open_stream_keeps_nothing_of_requests_that_are_answered(served: Served) -> None:
    answered = threading.Semaphore(0)
    with client_of(served, "grpc") as client:
        client.start_stream(lambda result, error: answered.release())
        for _ in range(6):
            client.async_stream_infer("tiny", [tensor_of("grpc", np.zeros((1, 4, 4, 3), np.uint8))])
            assert answered.acquire(timeout=60)
        gc.collect()
        assert sum(type(one) is Ticket for one in gc.get_objects()) <= 1
        client.stop_stream()


@pytest.mark.parametrize(
    ("name", "batch", "tensor", "status", "words"),
    [
        ("nobody", np.zeros((1, 4, 4, 3), np.uint8), "image", "404 NOT_FOUND", "has no network"),
        ("tiny", np.zeros((1, 4, 4, 3), np.uint8), "x", "400 INVALID_ARGUMENT", "request has 'x'"),
        ("tiny", np.zeros((1, 4, 4, 4), np.uint8), "image", "422 INVALID_ARGUMENT", "have shape"),
        ("tiny", np.zeros((1, 5, 4, 3), np.uint8), "image", "422 INVALID_ARGUMENT", "multiples of"),
        ("tiny", np.zeros((1, 4, 4, 3), np.int64), "image", "422 INVALID_ARGUMENT", "got INT64"),
        ("face", np.zeros((1, 4, 4, 3), np.uint8), "image", "422 INVALID_ARGUMENT", "64, 64, 3"),
    ],
)
def test_what_a_network_does_not_take_is_refused_with_the_reason(
    served: Served, kind: str, name: str, batch: Any, tensor: str, status: str, words: str
) -> None:
    with client_of(served, kind) as client:
        found, message = error_of(
            kind, lambda: client.infer(name, [tensor_of(kind, batch, tensor)])
        )
    number, code = status.split(" ")
    assert found == (f"StatusCode.{code}" if kind == "grpc" else number)
    assert words in message


def test_statistics_are_kept_of_open_networks_only(served: Served, kind: str) -> None:
    """Names are made up by clients."""
    table = NetworkTable(served.service)
    with pytest.raises(UnknownModelError):
        table.count("nobody")
    with pytest.raises(UnknownModelError):
        table.statistics_of("nobody")
    with client_of(served, kind) as client:
        _, message = error_of(kind, lambda: client.get_inference_statistics("nobody"))
    assert "no network 'nobody'" in message


def test_another_version_than_the_only_one_is_not_found(served: Served, kind: str) -> None:
    with client_of(served, kind) as client:
        assert not client.is_model_ready("tiny", "2") if kind == "http" else True
        _, message = error_of(kind, lambda: client.get_model_metadata("tiny", "2"))
    assert "the version 1 only" in message


def test_numbers_that_do_not_fill_a_tensor_are_refused_over_grpc(served: Served) -> None:
    pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")
    rpc = pytest.importorskip("grpc")
    stub = pytest.importorskip("tritonclient.grpc.service_pb2_grpc")
    request = pb2.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 2, 2, 3])
    with rpc.insecure_channel(served.grpc) as channel:
        service = stub.GRPCInferenceServiceStub(channel)
        tensor.contents.uint_contents.extend(range(12))
        answer = service.ModelInfer(request)
        assert len(answer.raw_output_contents[0]) == 48
        tensor.contents.uint_contents.pop()
        with pytest.raises(rpc.RpcError) as caught:
            service.ModelInfer(request)
        assert dict(caught.value.trailing_metadata())["restora-code"] == "shape"
        request.raw_input_contents.extend([b"a", b"b"])
        with pytest.raises(rpc.RpcError, match="one item for each of 1 inputs"):
            service.ModelInfer(request)


def post(served: Served, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(served.http, timeout=60)
    try:
        connection.request(
            "POST", path, body, {name.replace("_", "-"): v for name, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_bodies_that_are_too_large_or_compressed_are_refused_before_they_are_read(
    served: Served,
) -> None:
    path = "/v2/models/tiny/infer"
    status, answer = post(served, path, b"", Content_Length=str(33 << 20))
    assert (status, answer["code"]) == (413, "file-too-large")
    status, answer = post(served, path, b"x", Content_Encoding="gzip")
    assert (status, answer["code"]) == (415, "unsupported-media-type")
    status, answer = post(served, path, b"{")
    assert (status, answer["code"]) == (400, "request")
    assert "JSON cannot be read" in answer["error"]
    status, answer = post(served, "/v2/repository/index", b"[]")
    assert (status, answer["code"]) == (400, "request")


def test_bodies_of_all_requests_together_have_a_limit(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"inputs": []}).encode()
    path = "/v2/models/tiny/infer"
    with monkeypatch.context() as patch:
        patch.setattr("restora.serve.v2.bodies_held.MOST_HELD", len(body) - 1)
        status, answer = post(served, path, body)
        assert (status, answer["code"]) == (503, "queue-full")
    for _ in range(2):  # what was refused or answered is not held any more
        monkeypatch.setattr("restora.serve.v2.bodies_held.MOST_HELD", len(body))
        assert post(served, path, body)[1]["code"] == "request"


def test_a_deadline_holds_while_a_body_arrives(served: Served) -> None:
    head = (
        "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400\r\n"
        "X-Restora-Deadline: 0.2\r\n\r\n"
    )
    host, port = served.http.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 504 ")


def test_errors_of_calls_are_counted(served: Served) -> None:
    def counted() -> float:
        return sum(
            sample.value
            for family in served.service.metrics.problems.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["code"] == "unknown-model"
        )

    before = counted()
    with client_of(served, "grpc") as client:
        error_of("grpc", lambda: client.get_model_metadata("nobody"))
    assert counted() == before + 1


def test_messages_count_as_bodies(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = tensor_of("grpc", np.zeros((1, 4, 4, 3), np.uint8))
    with client_of(served, "grpc") as client:
        with monkeypatch.context() as patch:
            patch.setattr("restora.serve.v2.bodies_held.MOST_HELD", 40)
            status, message = error_of("grpc", lambda: client.infer("tiny", [tensor]))
        assert status == "StatusCode.UNAVAILABLE"
        assert "fill the memory" in message
        monkeypatch.setattr("restora.serve.v2.bodies_held.MOST_HELD", 200)
        for _ in range(3):
            client.infer("tiny", [tensor])


def test_the_rate_of_an_address_is_one_for_both_protocols(folder: Path, tmp_path: Path) -> None:
    """And for all of its connections."""
    with (
        serving(lambda: open_real(folder), tmp_path, rate=1 / 3600) as served,
        client_of(served, "http") as first,
        client_of(served, "grpc") as second,
    ):
        first.get_server_metadata()
        status, message = error_of("grpc", second.get_server_metadata)
    assert status == "StatusCode.RESOURCE_EXHAUSTED"
    assert "requests per second" in message


def test_statistics_count_requests_and_pictures(served: Served, kind: str) -> None:
    batch = RNG.integers(0, 256, (3, 6, 8, 3), np.uint8)
    with client_of(served, kind) as client:
        before = statistics(kind, client)
        client.infer("tiny", [tensor_of(kind, batch)])
        error_of(kind, lambda: client.infer("tiny", [tensor_of(kind, batch[:, :5])]))
        after = statistics(kind, client)
    assert int(after["inference_count"]) - int(before.get("inference_count", 0)) == 3
    for name in ("success", "fail", "queue", "compute_infer"):
        assert count(after, name) - count(before, name) == 1
        assert int(after["inference_stats"][name]["ns"]) > 0


def statistics(kind: str, client: Any) -> Any:
    (row,) = as_dict(kind, client.get_inference_statistics("tiny"))["model_stats"]
    return row


def count(row: Any, name: str) -> int:
    return int(row["inference_stats"][name].get("count", 0))


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Served, HeldSession]]:
    """A service with a queue of one, whose network can be held."""
    session = HeldSession()
    with serving(lambda: Restorer.from_session(session), tmp_path, queue=1) as served:
        yield served, session
        session.may_run.set()


def test_a_full_queue_refuses_at_once(held: tuple[Served, HeldSession], kind: str) -> None:
    served, session = held
    session.may_run.clear()
    session.is_running.clear()
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    with client_of(served, "grpc") as waiting, client_of(served, kind) as client:
        answers: list[Any] = []
        both = threading.Event()

        def take(result: Any, error: Any) -> None:
            answers.append((result, error))
            if len(answers) == workers + 1:
                both.set()

        workers = served.service.queue.limits.workers
        for _ in range(workers + 1):  # one of them waits
            waiting.async_infer("tiny", [tensor_of("grpc", batch)], callback=take)
        wait_for(served, lambda: served.service.queue.waiting == 1)
        status, message = error_of(kind, lambda: client.infer("tiny", [tensor_of(kind, batch)]))
        session.may_run.set()
        assert both.wait(60)
    assert status == ("StatusCode.UNAVAILABLE" if kind == "grpc" else "503")
    assert "1 requests wait, the limit" in message
    assert all(error is None for _, error in answers)


def wait_for(served: Served, condition: Callable[[], bool]) -> None:
    """Until the service's own thread finds it true."""
    done = threading.Event()
    for _ in range(6000):
        if served.call(condition):
            return
        done.wait(0.01)
    raise AssertionError("it never became true")


def test_a_request_that_times_out_ends_while_its_network_still_runs(
    held: tuple[Served, HeldSession], kind: str
) -> None:
    served, session = held
    session.may_run.clear()
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    with client_of(served, kind) as client:
        status, message = error_of(
            kind, lambda: client.infer("tiny", [tensor_of(kind, batch)], timeout=200_000)
        )
    assert status == ("StatusCode.DEADLINE_EXCEEDED" if kind == "grpc" else "504")
    assert "within 0.2 s" in message


def test_a_client_that_cancels_its_call_frees_its_place(
    held: tuple[Served, HeldSession],
) -> None:
    served, session = held
    session.may_run.clear()
    session.is_running.clear()
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    with client_of(served, "grpc") as client:
        workers = served.service.queue.limits.workers
        calls = [
            client.async_infer("tiny", [tensor_of("grpc", batch)], callback=lambda *_, **__: None)
            for _ in range(workers + 1)
        ]
        wait_for(served, lambda: served.service.queue.waiting == 1)
        calls[-1].cancel()
        wait_for(served, lambda: served.service.queue.waiting == 0)
        session.may_run.set()
        client.infer("tiny", [tensor_of("grpc", batch)])
    assert len(session.shapes) == workers + 1  # the canceled one never ran


def test_a_photo_and_a_request_share_the_session_and_its_batches(
    held: tuple[Served, HeldSession],
) -> None:
    served, _ = held
    network = served.service.models.networks()["tiny"]
    photo = served.service.models.get().session("upsampler", "uint8")
    assert network is photo


def test_requests_need_a_token_where_there_are_tokens(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna {TOKEN}\n")
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    with (
        serving(lambda: open_real(folder), tmp_path, tokens=tokens) as served,
        client_of(served, kind) as client,
    ):
        headers = {"authorization": f"Bearer {TOKEN}"}
        tensor = tensor_of(kind, batch)
        assert client.infer("tiny", [tensor], headers=headers).as_numpy("restored").shape[1] == 8
        status, message = error_of(kind, lambda: client.infer("tiny", [tensor]))
        assert status == ("StatusCode.UNAUTHENTICATED" if kind == "grpc" else "401")
        assert "needs a token" in message
        wrong = {"authorization": "Bearer 0123456789abcdeX"}
        _, message = error_of(kind, lambda: client.infer("tiny", [tensor], headers=wrong))
        assert "does not know this token" in message


def test_a_service_that_drains_is_not_ready_and_takes_nothing_new(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    with (
        serving(lambda: open_real(folder), tmp_path) as served,
        client_of(served, kind) as client,
    ):
        served.call(served.service.begin_drain)
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("tiny")
        served.call(served.service.refuse)
        status, _ = error_of(kind, lambda: client.infer("tiny", [tensor_of(kind, batch)]))
    assert status == ("StatusCode.UNAVAILABLE" if kind == "grpc" else "503")

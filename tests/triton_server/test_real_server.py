"""Facts about exported repositories on a real Triton server, as clients see them.

`make test-triton` installs the server into build/triton; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

from fakes import tiny_artifact
from restora import Photo, Restorer, encode_photo, open_session, read_photo
from restora.artifact import Artifact
from restora.backends import SessionOptions
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora.triton import ServerOptions, export_repository
from restora_tools.triton.server import Running, is_installed, python_of, serving

pytestmark = [pytest.mark.triton, pytest.mark.slow]

grpc = pytest.importorskip("tritonclient.grpc")
http = pytest.importorskip("tritonclient.http")

RNG = np.random.default_rng(5)
TILE = 64
NETWORK = "restora-lite-x2"
CPU = SessionOptions(backend="cpu", precision="fp32")
LIKE_SERVER = RestoreOptions(tile=TILE, backend="cpu", precision="fp32")


def write(path: Path, artifact: Artifact) -> Path:
    path.write_bytes(artifact.onnx)
    return path


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if not is_installed():
        pytest.skip("needs a Triton server: make test-triton")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceOptions:
    folder = tmp_path_factory.mktemp("faces")
    face: dict[str, Any] = {"kind": "face", "scale": 1, "side": 64, "size_multiple": 1, "gain": 0.5}
    write(folder / "face.float32.onnx", tiny_artifact(**face, model="face", io="float32"))
    model = write(folder / "face.onnx", tiny_artifact(**face, model="face"))
    return FaceOptions(model=model, detector="centerface")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, faces: FaceOptions) -> Path:
    """The bundled model in FP32 and FP16, with faces, for small tiles."""
    folder = tmp_path_factory.mktemp("triton") / "models"
    export_repository(
        [NETWORK],
        folder,
        server=ServerOptions(precisions=("fp32", "fp16"), photos=3, threads=1, max_batch=4),
        restore=RestoreOptions(tile=TILE),
        faces=faces,
    )
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "triton.log"
    with serving(repository, log=log) as running:
        assert running.is_ready(), log.read_text()[-4000:]
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Any]:
    with grpc.InferenceServerClient(server.grpc) as found:
        yield found


def picture(width: int = 200, height: int = 150, *, gray: bool = False, bits: int = 8) -> bytes:
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    shape = (height, width) if gray else (height, width, 3)
    pixels = RNG.integers(0, int(np.iinfo(dtype).max), shape, dtype)
    return encode_photo(Photo(pixels), format="png")


def photo_inputs(module: Any, data: bytes) -> list[Any]:
    tensor = module.InferInput("photo", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))
    return [tensor]


def restore(client: Any, data: bytes, **parameters: Any) -> tuple[bytes, dict[str, Any]]:
    answer = client.infer("restora-photo", photo_inputs(grpc, data), parameters=parameters)
    facts = json.loads(answer.as_numpy("facts")[0, 0])
    return bytes(answer.as_numpy("restored")[0, 0]), facts


def executions(running: Running, model: str = NETWORK) -> tuple[int, int]:
    """Pictures and executions of a network so far."""
    with urlopen(f"http://{running.metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return tuple(  # type: ignore[return-value]
        int(float(found.group(1)))
        for name in ("nv_inference_count", "nv_inference_exec_count")
        for found in [re.search(rf'{name}{{model="{re.escape(model)}",[^}}]*}} (\S+)', text)]
        if found is not None
    )


def test_every_exported_model_is_loaded_as_it_was_configured(client: Any, repository: Path) -> None:
    for folder in repository.iterdir():
        assert client.is_model_ready(folder.name)
    config = client.get_model_config(NETWORK).config
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 256 + 3 * 4
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["trt_profile_opt_shapes"] == f"image:4x{TILE}x{TILE}x3"


@pytest.mark.parametrize("name", [NETWORK, f"{NETWORK}.float32", f"{NETWORK}.fp16"])
@pytest.mark.parametrize("module", [grpc, http], ids=["grpc", "http"])
def test_a_network_gives_what_it_gives_in_process_bit_for_bit(
    server: Running, repository: Path, module: Any, name: str
) -> None:
    batch = RNG.integers(0, 256, (3, 48, 64, 3), np.uint8)
    given = batch if "float32" not in name else (batch / 255).astype(np.float32)
    tensor = module.InferInput("image", list(given.shape), "UINT8" if given is batch else "FP32")
    tensor.set_data_from_numpy(given)
    with module.InferenceServerClient(server.grpc if module is grpc else server.http) as client:
        restored = client.infer(name, [tensor]).as_numpy("restored")
    path = repository / name / "1" / "model.onnx"
    precision = "fp16" if "fp16" in name else "fp32"
    session = open_session(path, options=SessionOptions(backend="cpu", precision=precision))
    assert (restored == session.run(given)).all()


@pytest.mark.parametrize(
    "data",
    [picture(), picture(50, 33), picture(gray=True), picture(90, 70, bits=16)],
    ids=["color", "small", "gray", "16 bits"],
)
def test_a_photo_is_the_one_of_a_restorer_bit_for_bit(client: Any, data: bytes) -> None:
    restored, facts = restore(client, data, faces=False, outscale="1.5")
    with Restorer(NETWORK, options=LIKE_SERVER) as restorer:
        expected = restorer.restore(data, outscale=1.5).photo
    found = read_photo(restored)
    assert found.pixels.dtype == expected.pixels.dtype
    assert (found.pixels == expected.pixels).all()
    assert facts["output"]["width"] == expected.width


# in the server's own Python: faces are warped by its version of OpenCV
RESTORE = """
import json, sys
from restora import FaceOptions, Restorer, RestoreOptions, write_photo
name, face, tile, source, target = sys.argv[1:]
options = RestoreOptions(tile=int(tile), backend="cpu", precision="fp32")
faces = FaceOptions(model=face, detector="centerface")
with Restorer(name, options=options, faces=faces) as restorer:
    result = restorer.restore(source)
write_photo(result.photo, target)
print(json.dumps([face.as_row() for face in result.faces]))
"""


def test_faces_are_those_of_a_restorer_bit_for_bit(
    client: Any, faces: FaceOptions, tmp_path: Path
) -> None:
    astronaut = pytest.importorskip("skimage.data").astronaut()[:320, 100:400]
    data = encode_photo(Photo(np.ascontiguousarray(astronaut)), format="png")
    restored, facts = restore(client, data)
    (tmp_path / "old.png").write_bytes(data)
    words = [NETWORK, faces.model, TILE, tmp_path / "old.png", tmp_path / "new.png"]
    done = subprocess.run(
        [python_of(), "-c", RESTORE, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert facts["faces"]["restored"] == 1
    assert facts["faces"]["list"] == json.loads(done.stdout)
    expected = read_photo(tmp_path / "new.png")
    assert (read_photo(restored).pixels == expected.pixels).all()


def test_tiles_of_several_photos_share_executions(client: Any, server: Running) -> None:
    data = picture(180, 180)  # of the same size, so that tiles are, too
    before = executions(server)
    with ThreadPoolExecutor(3) as threads:
        photos = list(threads.map(lambda _: restore(client, data, faces=False)[0], range(6)))
    assert len(set(photos)) == 1
    pictures, runs = np.subtract(executions(server), before)
    assert pictures >= 6 * 9
    assert runs < pictures / 2


@pytest.mark.parametrize(
    ("data", "parameters", "message"),
    [
        (b"no photo at all", {}, "UnknownFormatError: the photo"),
        (picture()[:500], {}, "TruncatedImageError: the photo"),
        (picture(), {"outscale": "-1"}, "OptionError: outscale"),
        (picture(), {"sharpness": 3}, "OptionError: a request's parameters are"),
        (picture(), {"model": "other"}, "UnknownModelError: the parameter model must be one of"),
    ],
)
def test_errors_reach_clients_with_their_type(
    client: Any, data: bytes, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(grpc.InferenceServerException) as caught:
        restore(client, data, **parameters)
    assert message in caught.value.message()
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_http_clients_get_photos_and_errors_too(server: Running) -> None:
    with http.InferenceServerClient(server.http) as client:
        answer = client.infer(
            "restora-photo", photo_inputs(http, picture()), parameters={"ext": "jpg"}
        )
        assert bytes(answer.as_numpy("restored")[0, 0]).startswith(b"\xff\xd8")
        with pytest.raises(http.InferenceServerException, match="UnknownFormatError"):
            client.infer("restora-photo", photo_inputs(http, b"no photo"))


def test_a_canceled_photo_ends_at_its_next_tile(client: Any, server: Running) -> None:
    before = executions(server)[0]
    ended = threading.Event()
    large = picture(1600, 1600)
    call = client.async_infer(
        "restora-photo",
        photo_inputs(grpc, large),
        parameters={"faces": False},
        callback=lambda result, error: ended.set(),
    )
    wait_until(lambda: executions(server)[0] > before)
    call.cancel()
    assert ended.wait(60)
    for _ in range(3):  # every process, so that it has ended in whichever it was
        restore(client, picture(50, 50), faces=False)
    tiles = (1600 // 48) ** 2
    assert executions(server)[0] - before < tiles / 2


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_full_queue_refuses_at_once_and_the_rest_is_restored(
    tmp_path: Path,
) -> None:
    export_repository(
        [NETWORK],
        tmp_path / "models",
        server=ServerOptions(photos=1, queue_size=1, threads=1, warmup=False),
        restore=RestoreOptions(tile=TILE),
    )
    with (
        serving(tmp_path / "models", log=tmp_path / "log") as running,
        grpc.InferenceServerClient(running.grpc) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        assert running.is_ready(), running.log.read_text()[-4000:]
        data = picture(400, 300)

        def attempt(_: int) -> str:
            try:
                return f"restored {len(restore(client, data)[0])}"
            except grpc.InferenceServerException as error:
                return f"{error.status()} {error.message()}"

        outcomes = list(threads.map(attempt, range(8)))
    restored = {one for one in outcomes if one.startswith("restored")}
    refused = [one for one in outcomes if not one.startswith("restored")]
    assert len(restored) == 1
    assert refused
    assert all("UNAVAILABLE" in one for one in refused)
    assert all("xceeds maximum queue size" in one for one in refused)


def copy_without_start(repository: Path, target: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(repository / name, target / name)
    return target


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: edit(folder / NETWORK / "config.pbtxt", "dims: [3]", "dims: [4]"),
            "tensor 'channel_means'",
        ),
        (
            lambda folder: (folder / NETWORK / "1" / "model.onnx").write_bytes(b"no network"),
            "model.onnx",
        ),
        (
            lambda folder: (folder / "restora-photo" / "1" / "settings.json").write_text("{}"),
            "OptionError: settings.json of restora-photo cannot be used",
        ),
    ],
    ids=["wrong output", "damaged network", "wrong settings"],
)
def test_a_wrong_repository_keeps_the_server_from_starting_and_says_why(
    repository: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = copy_without_start(repository, tmp_path / "models", NETWORK, "restora-photo")
    settings = folder / "restora-photo" / "1" / "settings.json"
    values = json.loads(settings.read_text())
    settings.write_text(json.dumps({**values, "faces": None}))
    spoil(folder)
    with serving(folder, log=tmp_path / "log") as running:
        assert not running.is_ready()
        assert running.process.wait(60) != 0
    assert words in running.log.read_text()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_network_that_is_not_there_is_named_in_the_answer(
    repository: Path, tmp_path: Path
) -> None:
    folder = copy_without_start(repository, tmp_path / "models", "restora-photo")
    settings = folder / "restora-photo" / "1" / "settings.json"
    values = json.loads(settings.read_text())
    settings.write_text(json.dumps({**values, "faces": None}))
    with (
        serving(folder, log=tmp_path / "log") as running,
        grpc.InferenceServerClient(running.grpc) as client,
    ):
        assert running.is_ready(), running.log.read_text()[-4000:]
        with pytest.raises(
            grpc.InferenceServerException,
            match=f"MissingModelError: restora-photo needs the network {NETWORK}",
        ):
            restore(client, picture())


def test_when_its_processes_are_killed_photos_fail_at_once_and_networks_go_on(
    repository: Path, tmp_path: Path
) -> None:
    with (
        serving(repository, log=tmp_path / "log") as running,
        grpc.InferenceServerClient(running.grpc) as client,
    ):
        assert running.is_ready(), running.log.read_text()[-4000:]
        error = error_of_photo_in_work(client, running, lambda: kill_photo_processes(running))
        assert error is not None
        with pytest.raises(grpc.InferenceServerException):
            client.infer("restora-photo", photo_inputs(grpc, picture()), client_timeout=60)
        batch = RNG.integers(0, 256, (1, 48, 64, 3), np.uint8)
        tensor = grpc.InferInput("image", list(batch.shape), "UINT8")
        tensor.set_data_from_numpy(batch)
        assert client.infer(NETWORK, [tensor]).as_numpy("restored").shape == (1, 96, 128, 3)


def error_of_photo_in_work(client: Any, running: Running, end: Callable[[], None]) -> Any:
    """What the client of a large photo is told when `end` is called in the middle of it."""
    before = executions(running)[0]
    errors: list[Any] = []
    ended = threading.Event()

    def finish(result: Any, error: Any) -> None:
        errors.append(error)
        ended.set()

    client.async_infer(
        "restora-photo",
        photo_inputs(grpc, picture(1600, 1600)),
        parameters={"faces": False},
        callback=finish,
    )
    wait_until(lambda: executions(running)[0] > before)
    end()
    assert ended.wait(120)  # it is told, and does not hang
    return errors[0]


def kill_photo_processes(running: Running) -> None:
    killed = [
        process
        for process in psutil.Process(running.process.pid).children(recursive=True)
        if "stub" in process.name() and "restora-photo" in " ".join(process.cmdline())
    ]
    assert len(killed) == 3
    for process in killed:
        process.send_signal(signal.SIGKILL)


def picture_of_seed(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 120, 3), np.uint8)
    return encode_photo(Photo(pixels), format="png")


def test_a_server_that_is_killed_while_it_works_starts_again_and_answers_the_same(
    repository: Path, tmp_path: Path
) -> None:
    with (
        serving(repository, log=tmp_path / "first") as running,
        grpc.InferenceServerClient(running.grpc) as client,
    ):
        assert running.is_ready(), running.log.read_text()[-4000:]
        expected, _ = restore(client, picture_of_seed(2), faces=False)
        children = psutil.Process(running.process.pid).children(recursive=True)
        error = error_of_photo_in_work(
            client, running, lambda: os.kill(running.process.pid, signal.SIGKILL)
        )
        assert error is not None
        running.process.wait(30)  # until then its children take it for alive
        # one that waits for a lock of the server stays, until its container ends with the server
        _, alive = psutil.wait_procs(children, timeout=5)
        for process in alive:
            process.kill()
    with (
        serving(repository, log=tmp_path / "second") as running,
        grpc.InferenceServerClient(running.grpc) as client,
    ):
        assert running.is_ready(), running.log.read_text()[-4000:]
        assert restore(client, picture_of_seed(2), faces=False)[0] == expected

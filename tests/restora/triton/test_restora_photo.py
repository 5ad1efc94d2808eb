"""Facts about restora-photo on a stand-in for Triton: results are those of a Restorer, bit for bit;
tiles travel together; every error has a type."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import tiny_artifact
from restora import Photo, Restorer, encode_photo, read_photo
from restora.artifact import Artifact
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora.triton import ServerOptions, export_repository
from triton_double import (
    Arrays,
    FakeServer,
    MisreadingTensor,
    PhotoRequest,
    TritonModelException,
    triton,
)

RNG = np.random.default_rng(3)
TILE = RestoreOptions(tile=48, overlap=8)


def picture(
    width: int = 100, height: int = 70, *, gray: bool = False, alpha: bool = False, bits: int = 8
) -> Photo:
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    white = int(np.iinfo(dtype).max)
    shape = (height, width) if gray else (height, width, 3)
    return Photo(
        RNG.integers(0, white, shape, dtype),
        RNG.integers(0, white, (height, width), dtype) if alpha else None,
    )


def png(photo: Photo) -> bytes:
    return encode_photo(photo, format="png")


def write(path: Path, artifact: Artifact) -> Path:
    path.write_bytes(artifact.onnx)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write(tmp_path / "tiny.float32.onnx", tiny_artifact(io="float32"))
    return write(tmp_path / "tiny.onnx", tiny_artifact())


@contextmanager
def serving(
    repository: Path, models: list[Path], **export: Any
) -> Iterator[tuple[FakeServer, Any]]:
    """A server with the repository, and the model restora-photo in it."""
    export.setdefault("restore", TILE)
    export_repository(models, repository, **export)
    with triton() as server:
        server.load(repository)
        yield server, start(repository)


def start(repository: Path) -> Any:
    photo_model = importlib.import_module("restora.triton.server").TritonPythonModel()
    photo_model.initialize(
        {"model_repository": str(repository / "restora-photo"), "model_version": "1"}
    )
    return photo_model


def ask(photo_model: Any, request: PhotoRequest) -> tuple[bytes, dict[str, Any]]:
    """The photo and the facts of a response without an error."""
    (response,) = photo_model.execute([request])
    assert not response.has_error(), response.error().message()
    values = {one.name(): one.as_numpy() for one in response.output_tensors()}
    assert values["restored"].shape == values["facts"].shape == (1, 1)
    return values["restored"][0, 0], json.loads(values["facts"][0, 0])


def fail(photo_model: Any, request: PhotoRequest) -> tuple[str, str]:
    """Message and code of a response with an error."""
    (response,) = photo_model.execute([request])
    assert response.has_error()
    assert response.output_tensors() == []
    return response.error().message(), response.error().code


@pytest.mark.parametrize(
    "photo",
    [
        picture(),
        picture(20, 11),
        picture(gray=True),
        picture(alpha=True),
        picture(bits=16),
        picture(bits=16, alpha=True),
    ],
    ids=["color", "small", "gray", "alpha", "16 bits", "16 bits with alpha"],
)
def test_a_photo_is_the_one_that_a_restorer_gives(
    model: Path, tmp_path: Path, photo: Photo
) -> None:
    data = png(photo)
    with serving(tmp_path / "repo", [model]) as (_, photo_model):
        restored, facts = ask(photo_model, PhotoRequest(data, outscale=1.5))
    options = RestoreOptions(tile=48, overlap=8, backend="cpu", precision="fp32")
    with Restorer(model, options=options) as restorer:
        expected = restorer.restore(data, outscale=1.5).photo
    found = read_photo(restored)
    assert (found.pixels == expected.pixels).all()
    assert found.pixels.dtype == expected.pixels.dtype
    assert (found.alpha is None) == (expected.alpha is None)
    assert found.alpha is None or bool((found.alpha == expected.alpha).all())
    assert facts["output"]["width"] == expected.width
    assert facts["input"]["bits"] == 8 * photo.pixels.itemsize
    assert facts["faces"] is None


def test_tiles_of_one_photo_are_requested_together(model: Path, tmp_path: Path) -> None:
    together = threading.Barrier(3)  # passed only by three requests at once
    server_options = ServerOptions(max_batch=3)
    with serving(tmp_path / "repo", [model], server=server_options) as (server, photo_model):
        run = server.models["tiny"]

        def wait(inputs: Arrays) -> Arrays | str:
            together.wait(30)
            return run(inputs)

        server.models["tiny"] = wait
        ask(photo_model, PhotoRequest(png(picture(120, 80))))  # three by two tiles
    assert len(server.requests) == 6


@pytest.mark.parametrize("equal", [False, True])
def test_with_equal_tiles_photos_of_any_size_have_tiles_of_one_shape(
    model: Path, tmp_path: Path, equal: bool
) -> None:
    server_options = ServerOptions(equal_tiles=equal)
    with serving(tmp_path / "repo", [model], server=server_options) as (server, photo_model):
        for width, height in ((100, 70), (90, 120), (77, 51)):
            ask(photo_model, PhotoRequest(png(picture(width, height))))
    shapes = {shape for _, shape in server.requests}
    assert (shapes == {(1, 48, 48, 3)}) == equal
    assert max(max(shape) for shape in shapes) <= 48


def face_artifacts(folder: Path) -> Path:
    face: dict[str, Any] = {"kind": "face", "scale": 1, "side": 64, "size_multiple": 1, "gain": 0.5}
    write(folder / "face.float32.onnx", tiny_artifact(**face, model="face", io="float32"))
    return write(folder / "face.onnx", tiny_artifact(**face, model="face"))


def test_faces_are_restored_by_their_network_as_in_process(model: Path, tmp_path: Path) -> None:
    astronaut = pytest.importorskip("skimage.data").astronaut()[:320, 100:400]
    data = png(Photo(np.ascontiguousarray(astronaut)))
    faces = FaceOptions(model=face_artifacts(tmp_path), detector="centerface", strength=0.9)
    with serving(tmp_path / "repo", [model], faces=faces) as (server, photo_model):
        restored, facts = ask(photo_model, PhotoRequest(data))
        plain, _ = ask(photo_model, PhotoRequest(data, faces="false"))
    options = RestoreOptions(tile=48, overlap=8, backend="cpu", precision="fp32")
    with Restorer(model, options=options, faces=faces) as restorer:
        expected = restorer.restore(data)
    assert (read_photo(restored).pixels == expected.photo.pixels).all()
    assert (read_photo(plain).pixels != expected.photo.pixels).any()
    assert facts["faces"]["list"] == [face.as_row() for face in expected.faces]
    assert facts["faces"]["restored"] == 1
    assert ("face", (1, 64, 64, 3)) in server.requests


def test_a_detector_that_is_a_network_runs_on_the_server(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    detector = tiny_artifact(kind="detector", scale=1, size_multiple=1, model="detector")
    write(tmp_path / "models" / "detection_Resnet50_Final.onnx", detector)
    faces = FaceOptions(model=face_artifacts(tmp_path), detector="auto")
    rows: NDArray[np.float32] = np.zeros((1, 1, 16), np.float32)

    def find_nothing(inputs: Arrays) -> Arrays:
        height, width = inputs["image"].shape[1:3]
        anchors = sum(2 * -(-height // step) * -(-width // step) for step in (8, 16, 32))
        answer = rows.repeat(anchors, 1)
        return {"restored": answer, "channel_means": answer.mean(1)}

    with serving(tmp_path / "repo", [model], faces=faces) as (server, photo_model):
        server.models["detector"] = find_nothing
        _, facts = ask(photo_model, PhotoRequest(png(picture(100, 70))))
    assert ("detector", (1, 70, 100, 3)) in server.requests
    assert facts["faces"]["found"] == 0


def test_a_request_names_one_of_several_upsamplers(model: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.onnx", tiny_artifact(scale=4, model="other"))
    with serving(tmp_path / "repo", [model, other]) as (_, photo_model):
        assert ask(photo_model, PhotoRequest(png(picture())))[1]["scale"] == 2
        assert ask(photo_model, PhotoRequest(png(picture()), model="other"))[1]["scale"] == 4
        message, code = fail(photo_model, PhotoRequest(png(picture()), model="third"))
    assert (code, message) == (
        "invalid",
        "UnknownModelError: the parameter model must be one of tiny, other, got 'third'",
    )


@pytest.mark.parametrize(
    ("ext", "beginning"),
    [("auto", b"\x89PNG"), ("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("tiff", b"II")],
)
def test_the_format_of_the_result_is_chosen(
    model: Path, tmp_path: Path, ext: str, beginning: bytes
) -> None:
    with serving(tmp_path / "repo", [model]) as (_, photo_model):
        restored, _ = ask(photo_model, PhotoRequest(png(picture()), ext=ext, quality="80"))
    assert restored.startswith(beginning)


@pytest.mark.parametrize(
    ("data", "parameters", "message"),
    [
        (b"no photo", {}, "UnknownFormatError: the photo"),
        (png(picture())[:-60], {}, "TruncatedImageError: the photo"),
        (png(picture()), {"size": 2}, "OptionError: a request's parameters are model, outscale"),
        (png(picture()), {"outscale": "big"}, "OptionError: outscale must be a number"),
        (png(picture()), {"outscale": 0}, "OptionError: outscale must be a number above 0"),
        (png(picture()), {"quality": 1.5}, "OptionError: quality must be a whole number"),
        (png(picture()), {"ext": "bmp"}, "OptionError: ext must be one of"),
        (png(picture()), {"faces": "maybe"}, "OptionError: faces must be True or False"),
        (png(picture()), {"faces": True}, "OptionError: this server restores no faces"),
        (png(picture(alpha=True)), {"ext": "jpg"}, "OptionError: jpg holds no transparency"),
    ],
)
def test_what_the_client_did_wrong_is_an_invalid_argument(
    model: Path, tmp_path: Path, data: bytes, parameters: dict[str, object], message: str
) -> None:
    with serving(tmp_path / "repo", [model]) as (_, photo_model):
        found, code = fail(photo_model, PhotoRequest(data, **parameters))  # type: ignore[arg-type]
        assert found.startswith(message)
        assert code == "invalid"
        ask(photo_model, PhotoRequest(png(picture())))  # the process goes on


@pytest.mark.parametrize(
    ("answer", "message", "code"),
    [
        (None, "MissingModelError: restora-photo needs the network tiny", "internal"),
        (
            "tiny: Exceeds maximum queue size",
            "QueueFullError: as many requests wait",
            "unavailable",
        ),
        ("Request timeout expired", "DeadlineExceededError: a request waited", "unavailable"),
        ("out of memory", "SessionError: the network tiny failed on this server", "internal"),
    ],
)
def test_what_the_server_refuses_has_a_type_and_a_code(
    model: Path, tmp_path: Path, answer: str | None, message: str, code: str
) -> None:
    with serving(tmp_path / "repo", [model]) as (server, photo_model):
        del server.models["tiny"]
        if answer is not None:
            server.models["tiny"] = lambda _: answer
        found = fail(photo_model, PhotoRequest(png(picture())))
    assert found[0].startswith(message)
    assert found[1] == code


def test_a_network_that_gives_nan_fails_its_photo(tmp_path: Path) -> None:
    broken = write(tmp_path / "tiny.onnx", tiny_artifact(gain=float("nan")))
    with serving(tmp_path / "repo", [broken]) as (_, photo_model):
        message, code = fail(photo_model, PhotoRequest(png(picture())))
    assert message.startswith("NonFiniteOutputError: tiny (fp32) returned NaN or Inf")
    assert code == "internal"


def test_a_photo_ends_at_its_next_tile_when_the_client_cancels(model: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "repo", [model], server=ServerOptions(max_batch=1)) as (
        server,
        photo_model,
    ):
        request = PhotoRequest(png(picture(300, 300)), lambda: len(server.requests) > 2)
        message, code = fail(photo_model, request)
    assert (message, code) == (
        "ClientGoneError: the client canceled the request",
        "canceled",
    )
    assert len(server.requests) < 10  # of 64


def test_an_unexpected_error_costs_its_own_photo_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "repo", [model]) as (_, photo_model):
        with monkeypatch.context() as patch:
            patch.setattr(
                "restora.triton.photos.encode_photo",
                lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a bug")),
            )
            message, code = fail(photo_model, PhotoRequest(png(picture())))
        assert (message, code) == ("RuntimeError: a bug", "internal")
        ask(photo_model, PhotoRequest(png(picture())))


def test_settings_that_cannot_be_used_keep_the_model_from_loading(
    model: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repo"
    export_repository([model], repository)
    with triton():
        (repository / "restora-photo" / "1" / "settings.json").write_text("{}")
        with pytest.raises(TritonModelException, match=r"^OptionError: settings\.json"):
            start(repository)
        (repository / "restora-photo" / "1" / "settings.json").unlink()
        with pytest.raises(TritonModelException, match=r"^FileNotFoundError"):
            start(repository)


def test_a_server_that_misreads_arrays_is_found_when_it_starts(model: Path, tmp_path: Path) -> None:
    export_repository([model], tmp_path / "repo")
    with (
        triton(MisreadingTensor),
        pytest.raises(TritonModelException, match="do not pass this Triton's Python backend"),
    ):
        start(tmp_path / "repo")


def test_the_program_in_a_repository_is_the_class_of_the_package(
    model: Path, tmp_path: Path
) -> None:
    export_repository([model], tmp_path / "repo")
    program = (tmp_path / "repo" / "restora-photo" / "1" / "model.py").read_text()
    with triton():
        names: dict[str, Any] = {}
        exec(compile(program, "model.py", "exec"), names)
        server = importlib.import_module("restora.triton.server")
        assert names["TritonPythonModel"] is server.TritonPythonModel

"""Facts about closing a Restorer: it waits for what runs, it is final, and it leaks nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import NearestSession, replace_opening, tiny_artifact
from restora.artifact import Io, Kind
from restora.backends import OpenedSession, SessionOptions
from restora.backends.base import Batch
from restora.errors import MissingModelError, SessionError, ShapeError
from restora.faces.options import FaceOptions
from restora.image import Photo
from restora.options import RestoreOptions
from restora.pipeline import Restorer

PHOTO = Photo(np.zeros((8, 8, 3), np.uint8))
DEEP = Photo(np.zeros((8, 8, 3), np.uint16))


class Session(NearestSession):
    """Counts how often it is closed and waits, inside a call, until it may go on."""

    def __init__(self, io: Io = "uint8") -> None:
        super().__init__(io=io)
        self.closed = 0
        self.running = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def run(self, batch: Batch) -> Batch:
        assert not self.closed
        self.running.set()
        assert self.go_on.wait(10)
        return super().run(batch)

    def close(self) -> None:
        self.closed += 1


@dataclass
class World:
    """What opens sessions, and all that it has opened."""

    opened: list[Session] = field(default_factory=list)
    io: Callable[[str], Io] = lambda name: "float32" if "float32" in name else "uint8"

    def choose(self, path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        self.opened.append(Session(self.io(str(path))))
        return OpenedSession(self.opened[-1], "cpu", "fp32")

    def restorer(self, **options: Any) -> Restorer:
        return Restorer("any.onnx", **options)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    replace_opening(monkeypatch, world.choose)
    return world


def refuses(restorer: Restorer) -> bool:
    """Whether it is closed, by what it says of something that is no photo."""
    with pytest.raises((SessionError, ShapeError)) as caught:
        restorer.restore(None)  # type: ignore[arg-type]
    return caught.type is SessionError


def test_a_closed_restorer_refuses_and_opens_nothing(world: World) -> None:
    restorer = world.restorer()
    restorer.close()
    for photo in (PHOTO, DEEP):
        with pytest.raises(SessionError, match="closed: make a new one"):
            restorer.restore(photo)
    assert len(world.opened) == 1
    assert world.opened[0].closed == 1


def test_facts_of_a_closed_restorer_stay_and_open_nothing(world: World) -> None:
    restorer = world.restorer()

    def facts() -> list[object]:
        return [
            restorer.model,
            restorer.scale,
            restorer.networks,
            restorer.output_settings(),
        ]

    before = facts()
    restorer.close()
    assert facts() == before
    assert len(world.opened) == 1


def test_a_closed_restorer_of_a_real_artifact_refuses(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_artifact().onnx)
    with Restorer(path, options=RestoreOptions(backend="cpu")) as restorer:
        restorer.restore(PHOTO)
    with pytest.raises(SessionError, match="closed"):
        restorer.restore(PHOTO)
    with pytest.raises(SessionError, match="closed"), restorer:
        restorer.restore(PHOTO)


def test_interpolation_is_closed_too() -> None:
    restorer = Restorer(None)
    restorer.close()
    with pytest.raises(SessionError, match="closed"):
        restorer.restore(PHOTO)


def test_every_session_is_closed_once_however_often_the_restorer_is(world: World) -> None:
    restorer = world.restorer()
    restorer.restore(DEEP)
    assert len(world.opened) == 2
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: restorer.close(), range(8)))
    restorer.close()
    assert [session.closed for session in world.opened] == [1, 1]


def test_closing_in_another_thread_lets_running_photos_end(world: World) -> None:
    restorer = world.restorer()
    (session,) = world.opened
    session.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        photo = threads.submit(restorer.restore, PHOTO)
        assert session.running.wait(10)
        closing = threads.submit(restorer.close)
        while not refuses(restorer):  # until close() has begun
            pass
        assert not closing.done()
        session.go_on.set()
        assert photo.result(10).photo.width == 16
        closing.result(10)
    assert session.closed == 1


def test_an_interrupted_block_does_not_wait_for_whole_photos(world: World) -> None:
    """Ctrl-C in the main thread ends photos of other threads at their next tile."""
    large = Photo(np.zeros((64, 64, 3), np.uint8))
    options = RestoreOptions(tile=16, overlap=4, batch=1)
    with ThreadPoolExecutor(2) as threads:
        restorer = world.restorer(options=options)
        (session,) = world.opened
        session.go_on.clear()
        photo = threads.submit(restorer.restore, large)
        assert session.running.wait(10)
        leaving = threads.submit(restorer.__exit__, KeyboardInterrupt, None, None)
        while not refuses(restorer):
            pass
        while not restorer._networks.shared[0].is_closed:
            pass
        session.go_on.set()
        with pytest.raises(SessionError, match="closed"):
            photo.result(10)
        leaving.result(10)
    assert session.closed == 1


def test_a_progress_callback_cannot_close_its_own_call(world: World) -> None:
    restorer = world.restorer()
    with pytest.raises(SessionError, match="callback of its own call"):
        restorer.restore(PHOTO, progress=lambda *_: restorer.close())
    restorer.restore(PHOTO)
    restorer.close()


def test_an_artifact_of_another_type_is_closed_each_time_it_is_refused(world: World) -> None:
    world.io = lambda _: "uint8"
    restorer = world.restorer()
    for _ in range(3):
        with pytest.raises(MissingModelError, match="an artifact for float32 pictures is needed"):
            restorer.restore(DEEP)
    assert [session.closed for session in world.opened] == [0, 1, 1, 1]
    assert len(restorer.networks) == 1


def test_what_was_opened_is_closed_when_the_rest_cannot_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(model: str | Path, io: Io, kind: Kind) -> Path:
        if kind != "upsampler":
            raise MissingModelError(f"there is no {model}")
        return Path(io)

    replace_opening(monkeypatch, world.choose, find)
    with pytest.raises(MissingModelError, match="there is no face"):
        world.restorer(faces=FaceOptions(model="face.onnx"))
    assert [session.closed for session in world.opened] == [1]


def test_a_face_stage_opens_nothing_after_its_restorer_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from faces_fakes import ASTRONAUT, FaceSession, FixedDetector
    from restora.faces import open as joint_open

    monkeypatch.setattr(joint_open, "_open_detector", lambda *_: FixedDetector([ASTRONAUT]))
    opened = []

    def choose(path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        opened.append(path)
        return OpenedSession(FaceSession(io=path.name), "cpu", "fp32")

    replace_opening(monkeypatch, choose)
    restorer = Restorer(None, faces=FaceOptions(model="face.onnx"))
    stage = restorer.faces
    restorer.close()
    deep = Photo(np.zeros((600, 600, 3), np.uint16))
    assert stage is not None
    with pytest.raises(SessionError, match="closed"):
        stage.restore_faces(deep, Photo(deep.pixels.copy()), upscale=1)
    assert opened == [Path("uint8")]

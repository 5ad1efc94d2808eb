"""Facts about what makes a Restorer: arguments, options, and sessions that are open already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faces_fakes import ASTRONAUT, FaceSession, FixedDetector, LabelSession, stage_of
from fakes import NearestSession, make_info, tiny_artifact
from restora import FaceOptions, Photo, RestoreOptions, Restorer
from restora.backends.base import Batch
from restora.errors import MissingModelError, OptionError, SessionError
from restora.faces import FaceParser, FaceRestorer
from restora.faces.pipeline import FaceStage

PHOTO = Photo(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8))
DEEP = Photo(PHOTO.pixels.astype(np.uint16) * 257)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_artifact().onnx)
    return path


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        ({}, {}),
        ({"device": "cpu"}, {"device": "cpu"}),
        ({"precision": "fp32", "tile": 32}, {"precision": "fp32", "tile": 32}),
        ({"tile": 0, "options": RestoreOptions(threads=1)}, {"tile": 0, "threads": 1}),
        ({"tile": 32, "options": RestoreOptions(tile=32)}, {"tile": 32}),
        ({"options": RestoreOptions(device="cpu", tile=64)}, {"device": "cpu", "tile": 64}),
    ],
)
def test_arguments_are_short_for_options(
    tiny: Path, arguments: dict[str, Any], same: dict[str, Any]
) -> None:
    with Restorer(tiny, **arguments) as restorer:
        assert restorer.options == RestoreOptions(**same)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"device": "cuda"}, "device must be one of 'auto', 'cpu', 'gpu' and 'gpu:N'"),
        ({"precision": "half"}, "precision must be one of 'auto', 'fp32'"),
        ({"tile": -1}, "tile must be a whole number in 0"),
        ({"tile": "big"}, "tile must be 'auto', 0"),
        ({"faces": "yes"}, "faces must be True, False, None, FaceOptions or a FaceStage"),
        ({"options": {"tile": 3}}, "options must be RestoreOptions"),
        ({"tile": 64, "options": RestoreOptions(tile=32)}, "tile is given twice, as 64 and .* 32"),
        (
            {"device": "cpu", "options": RestoreOptions(device="gpu")},
            "device is given twice, as 'cpu' and in options as 'gpu'",
        ),
        (
            {"device": "gpu", "options": RestoreOptions(backend="openvino")},
            "contradict each other: on this device run 'tensorrt', 'cuda'",
        ),
    ],
)
def test_wrong_or_contradicting_arguments_are_refused(
    tiny: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        Restorer(tiny, **arguments)


def test_faces_true_is_the_default_face_stage(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, asked = stage_of([]), []

    def open_faces(options: FaceOptions, **_rest: Any) -> FaceStage:
        asked.append(options)
        return stage

    monkeypatch.setattr("restora.pipeline.open_faces", open_faces)
    for faces in (True, FaceOptions(strength=0.5), False, None):
        Restorer(tiny, faces=faces).close()
    assert asked == [FaceOptions(), FaceOptions(strength=0.5)]


def test_a_given_session_is_run_described_and_closed() -> None:
    closed = []

    class Remote(NearestSession):
        def close(self) -> None:
            closed.append(True)

    with Restorer.from_session(Remote(scale=3)) as restorer:
        result = restorer.restore(PHOTO)
        assert np.array_equal(result.photo.pixels, PHOTO.pixels.repeat(3, 0).repeat(3, 1))
        assert (restorer.model, restorer.scale) == ("tiny", 3)
        (network,) = restorer.networks
        assert network.describe() == "tiny runs in the session that was given in fp32"
        assert restorer.output_settings()["upsampler"] is not None
    assert closed == [True]


def test_16_bit_photos_need_a_session_of_their_own() -> None:
    with (
        Restorer.from_session(NearestSession()) as restorer,
        pytest.raises(MissingModelError, match="session_16bit"),
    ):
        restorer.restore(DEEP)
    deep = NearestSession(io="float32")
    with Restorer.from_session(NearestSession(), session_16bit=deep) as restorer:
        before = restorer.output_settings()
        result = restorer.restore(DEEP)
        assert restorer.output_settings() == before
    assert np.array_equal(result.photo.pixels, DEEP.pixels.repeat(2, 0).repeat(2, 1))


def test_the_settings_of_given_sessions_tell_networks_apart() -> None:
    one, other = NearestSession(), NearestSession()
    other.info = make_info(weights_sha256="1" * 64, size_multiple=1)
    deep, other_deep = NearestSession(io="float32"), NearestSession(io="float32")
    other_deep.info = make_info(weights_sha256="1" * 64, size_multiple=1, io="float32")
    found = [
        str(Restorer.from_session(session, session_16bit=second).output_settings())
        for session in (one, other)
        for second in (None, deep, other_deep)
    ]
    assert len(set(found)) == 6


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (NearestSession(io="float32"), "session takes uint8, session_16bit float32"),
        (FaceSession(), "not an upsampler"),
        ("a.onnx", "str has no info and no limits and no run and no close"),
    ],
)
def test_a_session_that_does_not_fit_is_refused(session: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Restorer.from_session(session)


class Wrong(NearestSession):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def run(self, batch: Batch) -> Batch:
        return self.answer(batch)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "answer",
    [
        lambda batch: batch,
        lambda batch: super(Wrong, Wrong(None)).run(batch).astype(np.float32),
        lambda batch: None,
        lambda batch: batch.tolist(),
    ],
)
def test_a_given_session_that_breaks_its_promise_is_a_session_error(answer: Any) -> None:
    with (
        Restorer.from_session(Wrong(answer)) as restorer,
        pytest.raises(SessionError, match="must give"),
    ):
        restorer.restore(PHOTO)


def test_a_given_face_stage_takes_part_and_is_closed_at_the_end() -> None:
    class Closing(FaceSession):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    session = Closing()
    stage = stage_of([ASTRONAUT], session)
    photo = Photo(np.full((300, 400, 3), 90, np.uint8))
    with Restorer(None, faces=stage) as restorer:
        result = restorer.restore(photo)
        assert [face.status for face in result.faces] == ["restored"]
        assert result.face_model == "tiny"
        assert not session.closed
    assert session.closed == 1


def test_the_settings_of_given_face_stages_tell_their_networks_apart() -> None:
    def settings(session: FaceSession, parser: FaceParser | None = None) -> object:
        restorer = FaceRestorer(session)
        stage = FaceStage(FixedDetector([]), lambda _io: restorer, parser=parser)
        with Restorer.from_session(NearestSession(), faces=stage) as opened:
            return opened.output_settings()

    other = FaceSession()
    other.info = make_info(kind="face", scale=1, side=512, weights_sha256="1" * 64)
    parser = FaceParser(LabelSession(np.zeros((512, 512), np.uint8)))
    found = [settings(FaceSession()), settings(other), settings(FaceSession(), parser)]
    assert found[0] == settings(FaceSession())
    assert len({str(each) for each in found}) == 3


def test_denoise_strength_is_for_one_model_in_python_too(tiny: Path) -> None:
    with pytest.raises(OptionError, match="works with realesr-general-x4v3 only"):
        Restorer(tiny, options=RestoreOptions(denoise_strength=0.5))

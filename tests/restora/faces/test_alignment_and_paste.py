"""Alignment and paste-back against the published script's numbers."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faces_fakes import ASTRONAUT
from restora.errors import FaceError, ShapeError
from restora.faces import align_face, fit_similarity, paste_face
from restora.faces.align import TEMPLATE
from restora.faces.parse import mask_from_labels
from restora.faces.paste import inverse_matrix
from restora.image import read_photo
from stored import read_arrays

DATA = Path(__file__).parents[2] / "data" / "face"
PUBLISHED: dict[str, Any] = json.loads((DATA / "face.json").read_text())
CASES = {case["name"]: case for case in PUBLISHED["cases"]}
TOLERANCE = PUBLISHED["tolerance"]["any_opencv_4_10_to_5_0"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[Any]]:
    return read_arrays(DATA / "face.npz")


def assert_as_published(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Within what different versions of OpenCV give."""
    difference = np.abs(got.astype(int) - expected)
    limits = TOLERANCE["uint8_images"]
    assert difference.max() <= limits["max_abs"]
    assert difference.mean() <= limits["mean_abs"]
    assert (difference > 1).mean() <= limits["share_abs_gt_1"]


def picture_of(name: str) -> NDArray[np.uint8]:
    if name.startswith("astro"):
        return np.asarray(skimage.data.astronaut())
    return read_photo(DATA / "syn.png").pixels.astype(np.uint8)


def test_the_template_is_the_published_one() -> None:
    np.testing.assert_array_equal(TEMPLATE, PUBLISHED["template_512"])


def test_the_robust_fit_drops_the_same_landmarks(arrays: dict[str, NDArray[Any]]) -> None:
    for landmarks, expected in zip(
        arrays["fit_landmarks"], arrays["fit_affine_lmeds"], strict=True
    ):
        matrix = fit_similarity(landmarks)
        np.testing.assert_allclose(
            matrix[:, :2], expected[:, :2], rtol=0, atol=TOLERANCE["affine_2x2"]
        )
        np.testing.assert_allclose(
            matrix[:, 2], expected[:, 2], rtol=0, atol=TOLERANCE["affine_translation"]
        )


@pytest.mark.parametrize("name", CASES)
def test_faces_are_cropped_and_pasted_as_published(
    name: str, arrays: dict[str, NDArray[Any]]
) -> None:
    case = CASES[name]
    picture, upscale = picture_of(name), case["upscale"]
    height, width = picture.shape[:2]
    size = (int(width * upscale), int(height * upscale))
    canvas = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)
    mask = None
    if case["use_parse"]:
        labels = read_photo(DATA / "parse_labels.png").pixels.astype(np.uint8)
        mask = mask_from_labels(labels)
    for index, landmarks in enumerate(case["landmarks"]):
        crop = align_face(picture, np.array(landmarks))
        np.testing.assert_allclose(crop.matrix, case["affine"][index], rtol=0, atol=2e-3)
        stored = arrays.get(f"{name.split('_')[0]}_crop{index}__4")
        assert stored is not None
        assert_as_published(crop.pixels[::4, ::4], stored)
        restored = 255 - crop.pixels
        paste_face(canvas, restored, crop.matrix, upscale=upscale, mask=mask, published=True)
    if "roi_xyxy" in case:
        left, top, right, bottom = case["roi_xyxy"]
        canvas, key = canvas[top:bottom, left:right], f"{name}_roi"
    else:
        key = f"{name}_pasted"
    if key in arrays:
        assert_as_published(canvas, arrays[key])
    else:
        assert_as_published(canvas[::4, ::4], arrays[f"{key}__4"])


def test_only_the_faces_surroundings_are_touched() -> None:
    picture = picture_of("astro")
    crop = align_face(picture, ASTRONAUT)
    canvas = picture.copy()
    paste_face(canvas, 255 - crop.pixels, crop.matrix, upscale=1)
    changed = (canvas != picture).any(2)
    rows, columns = np.nonzero(changed)
    assert 20 < rows.min() < rows.max() < 200
    assert 135 < columns.min() < columns.max() < 320


@pytest.mark.parametrize("upscale", [1, 1.5, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pasting_what_was_cropped_cannot_be_seen(upscale: float, dtype: type) -> None:
    small = cv2.GaussianBlur(picture_of("astro"), (0, 0), 3)  # so that resampling loses nothing
    picture = small.astype(dtype) * (1 if dtype == np.uint8 else 257)
    crop = align_face(picture, ASTRONAUT)
    size = (int(512 * upscale), int(512 * upscale))
    canvas = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype)
    before = canvas.astype(np.float64)
    paste_face(canvas, crop.pixels, crop.matrix, upscale=upscale)
    white = np.iinfo(dtype).max
    error = np.mean(((canvas - before) / white) ** 2)
    # upscale > 1: the published half-pixel shift moves the face by a quarter of an input pixel
    assert -10 * np.log10(error) >= (60 if upscale == 1 else 45)


def test_a_gray_canvas_takes_the_faces_luma() -> None:
    gray = cv2.cvtColor(picture_of("astro"), cv2.COLOR_RGB2GRAY)
    color = np.repeat(gray[..., None], 3, 2)
    crop = align_face(color, ASTRONAUT)
    canvas, canvas_color = gray.copy(), color.copy()
    for target in (canvas, canvas_color):
        paste_face(target, 255 - crop.pixels, crop.matrix, upscale=1)
    assert canvas.ndim == 2
    assert np.abs(canvas.astype(int) - canvas_color[..., 0]).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    center=st.tuples(st.floats(-60, 160), st.floats(-60, 130)),
    eyes=st.floats(1, 400),
    angle=st.floats(0, 360),
    upscale=st.sampled_from([1, 1.5, 2, 3.3]),
)
def test_faces_anywhere_and_of_any_size_are_pasted_or_refused(
    center: tuple[float, float], eyes: float, angle: float, upscale: float
) -> None:
    picture = np.full((70, 100, 3), 90, np.uint8)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (TEMPLATE - TEMPLATE.mean(0)) * (eyes / 126) @ rotation.T + center
    canvas = np.full((int(70 * upscale), int(100 * upscale), 3), 90, np.uint8)
    try:
        matrix = align_face(picture, points, side=64).matrix
    except FaceError:
        matrix = fit_similarity(points, side=64)
    paste_face(canvas, np.full((64, 64, 3), 200, np.uint8), matrix, upscale=upscale)
    assert canvas.min() >= 90  # between what was there and what was pasted
    assert canvas.max() <= 200


def test_wide_photos_are_cropped_although_opencv_takes_no_such_width() -> None:
    picture = np.zeros((300, 40_000, 3), np.uint8)
    picture[:, 39_000:39_512] = picture_of("astro")[:300]
    crop = align_face(picture, ASTRONAUT + np.array([39_000, 0]))
    expected = align_face(picture_of("astro")[:300], ASTRONAUT)
    difference = np.abs(crop.pixels.astype(int) - expected.pixels)
    assert difference[60:-60, 60:-60].max() <= 2
    canvas = picture.copy()
    paste_face(canvas, 255 - crop.pixels, crop.matrix, upscale=1)
    assert (canvas[:, 39_150:39_300] != picture[:, 39_150:39_300]).any()


def test_landmarks_that_are_no_face_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"shape \(5, 2\), got \(4, 2\)"):
        fit_similarity(np.zeros((4, 2)))
    with pytest.raises(FaceError, match="do not span a face"):
        fit_similarity(np.full((5, 2), 7.0))
    with pytest.raises(FaceError, match="NaN or Inf"):
        fit_similarity(np.full((5, 2), np.nan))
    with pytest.raises(ShapeError, match="must be uint8 of shape"):
        paste_face(
            np.zeros((9, 9, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), np.eye(2, 3), upscale=1
        )


def test_the_inverse_is_shifted_by_half_an_enlarged_pixel() -> None:
    matrix = np.array([[2.0, 0, 10], [0, 2, 20]])
    np.testing.assert_allclose(inverse_matrix(matrix, 1), [[0.5, 0, -5], [0, 0.5, -10]])
    np.testing.assert_allclose(inverse_matrix(matrix, 2), [[1, 0, -9], [0, 1, -19]])

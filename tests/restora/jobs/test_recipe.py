"""Facts about recipes: whatever changes a result's bytes changes its recipe, and nothing else
does."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faces_fakes import ASTRONAUT, FaceSession, FixedDetector
from fakes import replace_opening, tiny_artifact
from restora.artifact import Io, Kind
from restora.backends import OpenedSession, SessionOptions, choose_session
from restora.faces import open as joint_open
from restora.faces.options import FaceOptions
from restora.image import Photo
from restora.image.photo import Metadata
from restora.jobs.output import WriteOptions, write_result
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.options import RestoreOptions
from restora.pipeline import Restorer

CPU = RestoreOptions(backend="cpu")
FORMATS = ("png", "jpg", "webp", "tiff")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_artifact().onnx)
    return path


@pytest.fixture(scope="module")
def photo() -> Photo:
    rng = np.random.default_rng(0)
    exif = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"
    return Photo(rng.integers(0, 256, (50, 70, 3), np.uint8), metadata=Metadata(exif=exif))


def made(
    restorer: Restorer, photo: Photo, folder: Path, format_: str = "png", **writing: Any
) -> tuple[bytes, str]:
    """A result's bytes and its recipe."""
    outscale = writing.get("outscale")
    options = {name: value for name, value in writing.items() if name != "outscale"}
    result = restorer.restore(photo, outscale=outscale)
    target = folder / f"a.{format_}"
    write_result(target, photo, result, WriteOptions(**options))
    return target.read_bytes(), recipe_hash(
        restorer, writing_settings(restorer, format_, **writing)
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_an_option_of_writing_counts_exactly_if_it_changes_the_file(
    format_: str, tiny: Path, photo: Photo, tmp_path: Path
) -> None:
    choices: list[dict[str, Any]] = [
        {}, {"quality": 95}, {"quality": 50}, {"strip_metadata": True}, {"outscale": 2.0},
        {"outscale": 3}, {"outscale": 1.5}, {"quality": 50, "strip_metadata": True},
    ]  # fmt: skip
    with Restorer(tiny, options=CPU) as restorer:
        found = [made(restorer, photo, tmp_path, format_, **choice) for choice in choices]
    for (one, first), (other, second) in combinations(found, 2):
        assert (one == other) == (first == second)


def test_the_format_counts_and_its_spelling_does_not(tiny: Path) -> None:
    with Restorer(tiny, options=CPU) as restorer:
        recipes = {recipe_hash(restorer, writing_settings(restorer, name)) for name in FORMATS}
    assert len(recipes) == len(FORMATS)


CHANGES: list[dict[str, Any]] = [
    {},
    {"tile": 32},
    {"tile": 0},
    {"tile": 32, "overlap": 0},
    {"tile": 32, "overlap": 0, "blend": "crop"},
    {"tile": 32, "overlap": 16, "blend": "linear"},
    {"tile": 32, "overlap": 16, "published_tiles": True},
    {"alpha": "bilinear"},
    {"pre_pad": 4},
    {"resize": "lanczos4"},
    {"threads": 1},
    {"batch": 1},
    {"max_output_pixels": 10**6},
    {"precision": "fp32"},
]


def test_an_option_that_changes_the_picture_changes_the_recipe(
    tiny: Path, photo: Photo, tmp_path: Path
) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (50, 70), np.uint8)
    photo = replace(photo, alpha=alpha)
    found = []
    for change in CHANGES:
        with Restorer(tiny, options=replace(CPU, **change)) as restorer:
            found.append(made(restorer, photo, tmp_path, outscale=1.7))
    assert len({data for data, _ in found}) > 3
    for (one, first), (other, second) in combinations(found, 2):
        assert one == other or first != second


@pytest.mark.parametrize(
    "change", [{"threads": 1}, {"batch": 3}, {"max_output_pixels": 10**6}, {"precision": "fp32"}]
)
def test_an_option_that_changes_no_picture_changes_no_recipe(
    change: dict[str, Any], tiny: Path
) -> None:
    recipes = set()
    for options in (CPU, replace(CPU, **change)):
        with Restorer(tiny, options=options) as restorer:
            recipes.add(recipe_hash(restorer, writing_settings(restorer, "png")))
    assert len(recipes) == 1


def test_another_model_file_is_another_recipe_whatever_its_metadata_says(tmp_path: Path) -> None:
    recipes = set()
    for gain in (1.0, 0.5):
        (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(gain=gain).onnx)
        with Restorer(tmp_path / "tiny.onnx", options=CPU) as restorer:
            recipes.add(recipe_hash(restorer, writing_settings(restorer, "png")))
    assert len(recipes) == 2


def test_what_json_cannot_hold_is_no_part_of_a_recipe(tiny: Path) -> None:
    """Its text could be another one in the next process, and nothing would be resumed."""
    with Restorer(tiny, options=CPU) as restorer, pytest.raises(TypeError):
        recipe_hash(restorer, {"path": object()})


def test_face_options_that_change_the_picture_change_the_recipe(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_open, "_open_detector", lambda *_: FixedDetector([ASTRONAUT]))

    def find(model: str | Path, _io: Io, kind: Kind) -> Path:
        return tiny if kind == "upsampler" else Path("face.onnx")

    def choose(path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        if path.name == "face.onnx":
            return OpenedSession(FaceSession(), "cpu", "fp32", (), "sha of the face network")
        return choose_session(path, options=options)

    replace_opening(monkeypatch, choose, find)
    pixels = np.random.default_rng(2).integers(0, 256, (200, 400, 3), np.uint8)
    found = []
    for faces in (
        None,
        FaceOptions(model="GFPGANv1.4"),
        FaceOptions(model="GFPGANv1.4", strength=0.5),
        FaceOptions(model="GFPGANv1.4", eye_dist_threshold=100),
        FaceOptions(model="GFPGANv1.4", batch=1),
    ):
        with Restorer(tiny, options=CPU, faces=faces) as restorer:
            found.append(made(restorer, Photo(pixels), tmp_path))
    plain, whole, half, small, batched = found
    assert len({plain[0], whole[0], half[0]}) == 3
    assert len({recipe for _, recipe in found}) == 4
    assert batched == whole
    assert small[0] == plain[0]  # no face is large enough: as if there were none

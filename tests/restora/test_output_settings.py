"""Facts about the settings that decide pixels: what changes a picture changes them, nothing else
does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faces_fakes import FaceSession, FixedDetector, LabelSession
from fakes import NearestSession, replace_opening, tiny_artifact
from restora.artifact import Io, Kind
from restora.backends import OpenedSession, SessionOptions, choose_session
from restora.faces import open as joint_open
from restora.faces.options import FaceOptions
from restora.image import Photo
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.tiling import Tiling

CPU = RestoreOptions(backend="cpu")


def settings(path: Path, options: RestoreOptions = CPU) -> dict[str, object]:
    with Restorer(path, options=options) as restorer:
        found = restorer.output_settings()
    json.dumps(found)
    return found


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_artifact().onnx)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"tile": 64},
        {"tile": 0},
        {"overlap": 16},
        {"blend": "linear"},
        {"blend": "crop"},
        {"tile": 64, "overlap": 16, "published_tiles": True},
        {"alpha": "bilinear"},
        {"resize": "lanczos4"},
        {"pre_pad": 10},
        {"compat": "upstream"},
        {"memory": 64 << 20},
    ],
)
def test_an_option_that_changes_pixels_changes_the_settings(
    tiny: Path, change: dict[str, Any]
) -> None:
    assert settings(tiny, replace(CPU, **change)) != settings(tiny)


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 1},
        {"batch": 3},
        {"max_output_pixels": 10**6},
        {"precision": "fp32"},
        {"overlap": 8},
    ],
)
def test_an_option_that_changes_no_pixel_changes_no_setting(
    tiny: Path, change: dict[str, Any]
) -> None:
    assert settings(tiny, replace(CPU, **change)) == settings(tiny)


def test_more_memory_than_the_largest_tile_takes_changes_no_setting(tiny: Path) -> None:
    found = settings(tiny, replace(CPU, memory=64 << 30))
    assert found == settings(tiny, replace(CPU, memory=32 << 30))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Tiling(size=0, overlap=8, blend="crop"), Tiling(size=0, overlap=32)),
        (Tiling(size=65), Tiling(size=64)),
        (Tiling(overlap=2, blend="linear"), Tiling(overlap=2, blend="crop")),
        (Tiling(published_grid=True, overlap=9), Tiling(published_grid=True, overlap=8)),
        (Tiling(max_pixels=256**2), Tiling()),
        (Tiling(other_cost=2), Tiling()),
    ],
)
def test_tilings_that_cut_and_join_alike_are_equal(one: Tiling, other: Tiling) -> None:
    from restora.settings import settings_of_tiling

    assert settings_of_tiling(one, 2) == settings_of_tiling(other, 2)
    assert settings_of_tiling(replace(one, size=32, overlap=16), 2) != settings_of_tiling(other, 2)


@pytest.mark.parametrize(
    "change",
    [{"max_pixels": 256**2 - 1}, {"shapes": ((64, 64),)}, {"shapes": ((64, 64),), "other_cost": 2}],
)
def test_limits_that_lead_to_other_tiles_are_other_settings(change: dict[str, Any]) -> None:
    from restora.settings import settings_of_tiling

    changed = settings_of_tiling(replace(Tiling(), **change), 2)
    assert changed != settings_of_tiling(Tiling(shapes=((64, 32),)), 2)
    costly = Tiling(shapes=((64, 64),), other_cost=3)
    assert changed != settings_of_tiling(costly, 2)
    assert changed != settings_of_tiling(Tiling(), 2)


def test_a_model_file_that_changed_behind_the_same_metadata_changes_the_settings(
    tiny: Path,
) -> None:
    before = settings(tiny)
    tiny.write_bytes(tiny_artifact(gain=0.5).onnx)
    assert settings(tiny) != before


def test_the_artifact_for_16_bits_counts_before_it_is_opened_and_after(tiny: Path) -> None:
    without = settings(tiny)
    neighbor = tiny.with_name("tiny.float32.onnx")
    neighbor.write_bytes(tiny_artifact(io="float32").onnx)
    with Restorer(tiny, options=CPU) as restorer:
        before = restorer.output_settings()
        restorer.restore(Photo(np.full((8, 8, 3), 999, np.uint16)))
        assert restorer.output_settings() == before
    assert before != without
    neighbor.write_bytes(tiny_artifact(io="float32", gain=0.5).onnx)
    assert settings(tiny) != before


def test_an_artifact_that_would_have_to_be_exported_is_not(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding an artifact exports it where only the checkpoint is here."""
    asked: list[Io] = []

    def find(_model: str | Path, io: Io, _kind: Kind) -> Path:
        asked.append(io)
        return tiny

    replace_opening(monkeypatch, choose_session, find)
    with Restorer("realesr-general-x4v3", options=CPU) as restorer:
        restorer.output_settings()
    assert asked == ["uint8"]


def test_the_settings_can_be_had_from_a_closed_restorer(tiny: Path) -> None:
    restorer = Restorer(tiny, options=CPU)
    before = restorer.output_settings()
    restorer.close()
    assert restorer.output_settings() == before


def choose_as(precision: str, arithmetic: str | None = None) -> Callable[..., OpenedSession]:
    def choose(_path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        return OpenedSession(NearestSession(), "openvino", precision, (), "f" * 64, arithmetic)

    return choose


def test_the_precision_that_a_network_really_runs_in_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = set()
    for choose in (
        choose_as("fp32"),
        choose_as("bf16"),
        choose_as("int8", "int8+bf16"),
        choose_as("int8", "int8+f32"),
    ):
        replace_opening(monkeypatch, choose)
        found.add(json.dumps(Restorer("any.onnx").output_settings()))
    assert len(found) == 4


def test_the_artifact_that_runs_counts_not_the_one_that_was_named(tmp_path: Path) -> None:
    """Of a family of precisions beside the named file, the one of the asked precision is opened."""
    path, int8 = tmp_path / "tiny.onnx", tmp_path / "tiny.int8.onnx"
    path.write_bytes(tiny_artifact().onnx)
    int8.write_bytes(tiny_artifact(precision="int8").onnx)
    asked = replace(CPU, precision="int8")
    before = settings(path, asked)
    int8.write_bytes(tiny_artifact(precision="int8", gain=0.5).onnx)
    assert settings(path, asked) != before


def test_interpolation_has_no_network() -> None:
    assert Restorer(None).output_settings() == {"upsampler": None, "faces": None}


@pytest.fixture
def face_settings(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FaceOptions], dict[str, object]]:
    """The settings of a Restorer with faces, its face networks fakes."""
    monkeypatch.setattr(joint_open, "_open_detector", lambda *_: FixedDetector([]))

    def find(model: str | Path, _io: Io, kind: Kind) -> Path:
        return tiny if kind == "upsampler" else Path(f"{model}.{kind}")

    def choose(path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        if path.suffix == ".face":
            return OpenedSession(FaceSession(), "cpu", "fp32", (), f"sha of {path}")
        if path.suffix == ".parser":
            return OpenedSession(LabelSession(np.zeros((8, 8), np.uint8)), "cpu", "fp32", (), "sha")
        return OpenedSession(NearestSession(), "cpu", "fp32")

    replace_opening(monkeypatch, choose, find)

    def of(faces: FaceOptions) -> dict[str, object]:
        with Restorer(tiny, options=CPU, faces=faces) as restorer:
            found = restorer.output_settings()
        json.dumps(found)
        return found

    return of


FACES = FaceOptions(model="GFPGANv1.4")


@pytest.mark.usefixtures("face_settings")
def test_the_preset_of_the_published_scripts_reaches_the_faces(tiny: Path) -> None:
    upstream = replace(CPU, compat="upstream")
    with Restorer(tiny, options=upstream, faces=FACES) as restorer:
        found: Any = restorer.output_settings()
    assert found["faces"]["published_paste"] is True


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"model": "GFPGANv1.3"}, True),
        ({"strength": 0.5}, True),
        ({"parse": True}, True),
        ({"eye_dist_threshold": 9}, True),
        ({"only_center_face": True}, True),
        ({"long_side": 640}, True),
        ({"long_side": None}, True),
        ({"published_paste": True}, True),
        ({"batch": 2}, False),
        ({"detector": "yunet"}, False),  # which detector is open counts, not which was asked for
    ],
)
def test_face_options_count_if_they_change_pixels(
    face_settings: Callable[[FaceOptions], dict[str, object]],
    change: dict[str, Any],
    counts: bool,
) -> None:
    changed = face_settings(replace(FACES, **change))
    assert (changed != face_settings(FACES)) == counts

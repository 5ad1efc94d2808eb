"""Repairs in a Restorer: before it enlarges and before faces, with facts in the result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from damage_fakes import FILLED, MAGENTA, gray_picture, write_networks
from faces_fakes import ASTRONAUT
from faces_fakes import stage_of as face_stage_of
from fakes import NearestSession, tiny_artifact
from restora import DamageOptions, RestoreOptions, Restorer
from restora.errors import OptionError, ShapeError
from restora.image import Photo


@pytest.fixture
def networks(tmp_path: Path) -> tuple[Path, Path]:
    return write_networks(tmp_path)


def options_of(networks: tuple[Path, Path], **choices: object) -> DamageOptions:
    detector, repairer = networks
    return DamageOptions(detector=detector, repairer=repairer, **choices)  # type: ignore[arg-type]


def scratched() -> np.ndarray:
    pixels = gray_picture(40, 60)
    pixels[20, 5:55] = MAGENTA
    return pixels


def open_restorer(damage: DamageOptions, **choices: object) -> Restorer:
    options = RestoreOptions(backend="cpu")
    return Restorer.from_session(NearestSession(), damage=damage, options=options, **choices)  # type: ignore[arg-type]


def test_a_photo_is_repaired_before_it_is_enlarged(networks: tuple[Path, Path]) -> None:
    with open_restorer(options_of(networks)) as restorer:
        result = restorer.restore(scratched())
    assert result.damage is not None
    assert result.damage.status == "repaired"
    assert result.complete
    enlarged = result.photo.pixels
    assert (enlarged[40:42, 20:100] == FILLED).all()
    assert {"damage_find", "damage_repair", "upsample"} <= set(result.seconds)


def test_too_much_damage_makes_a_result_incomplete(networks: tuple[Path, Path]) -> None:
    with open_restorer(options_of(networks, max_share=0.01)) as restorer:
        result = restorer.restore(scratched())
    assert result.damage is not None
    assert result.damage.status == "refused"
    assert not result.complete
    assert np.array_equal(result.photo.pixels[::2, ::2], scratched())


def test_settings_say_what_is_repaired_and_a_variant_may_do_otherwise(
    networks: tuple[Path, Path],
) -> None:
    with open_restorer(options_of(networks)) as restorer:
        settings = restorer.output_settings()
        json.dumps(settings)
        careful = restorer.variant(damage=options_of(networks, threshold=0.9))
        without = restorer.variant(damage=False)
        assert careful.output_settings() != settings
        assert "damage" not in without.output_settings()
        assert without.restore(scratched()).damage is None
        assert restorer.variant().output_settings() == settings
        with pytest.raises(OptionError, match="networks, which are not open"):
            without.variant(damage=True)


def test_a_mask_decides_pixels_and_so_it_is_part_of_the_settings(
    networks: tuple[Path, Path],
) -> None:
    mask = np.zeros((40, 60), bool)
    found = []
    for row in (3, 4):
        mask[row] = True
        with open_restorer(options_of(networks, find="off", mask=mask.copy())) as restorer:
            found.append(restorer.output_settings()["damage"])
            assert [n.info.kind for n in restorer.networks] == ["upsampler", "repairer"]
    assert found[0] != found[1]


def test_colors_are_settings_too(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact().onnx)
    settings = []
    for color in ("off", "unfade"):
        options = RestoreOptions(backend="cpu", color=color)  # type: ignore[arg-type]
        with Restorer(tmp_path / "tiny.onnx", options=options) as restorer:
            settings.append(restorer.output_settings())
            assert restorer.repairs == (color == "unfade")
    assert settings[0] != settings[1]


def test_a_mask_of_another_size_fails_the_photo_and_not_the_restorer(
    networks: tuple[Path, Path],
) -> None:
    damage = options_of(networks, mask=np.zeros((8, 8), bool))
    with open_restorer(damage) as restorer:
        with pytest.raises(ShapeError, match="60 x 40"):
            restorer.restore(scratched())
        assert restorer.restore(gray_picture(8, 8)).damage is not None


def test_the_face_stage_says_where_faces_are(networks: tuple[Path, Path]) -> None:
    faces = face_stage_of([ASTRONAUT])
    with open_restorer(options_of(networks, max_face_share=0), faces=faces) as restorer:
        pixels = gray_picture(300, 400)
        pixels[110:112, 205:245] = MAGENTA  # across the face
        result = restorer.restore(Photo(pixels))
    assert result.damage is not None
    assert result.damage.faces_left == 1


def test_damage_must_be_options_or_a_flag() -> None:
    with pytest.raises(OptionError, match="damage must be True, False, None or DamageOptions"):
        Restorer.from_session(NearestSession(), damage="all")  # type: ignore[arg-type]

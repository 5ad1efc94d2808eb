"""The bundled sample print and its mask are what their script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from restora.image import decode_photo
from restora_tools.damage_pictures import MASK, PRINT, make_print

ROOT = Path(__file__).parents[2]


def test_the_bundled_print_and_its_mask_are_what_their_script_makes() -> None:
    picture, mask = (decode_photo(data).pixels for data in make_print())
    old_picture, old_mask = (
        decode_photo((ROOT / path).read_bytes()).pixels for path in (PRINT, MASK)
    )
    # JPEG decoders and encoders differ in rounding
    assert np.abs(picture.astype(int) - old_picture).mean() < 1
    assert np.array_equal(mask, old_mask)

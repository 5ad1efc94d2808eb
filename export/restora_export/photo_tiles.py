"""Real photo tiles, bundled with the exporter, to measure accuracy and seams and for self-checks.

data/photo_tiles.png has tiles of 96 x 96 pixels, side by side, of three free photos that are not
used for training (coffee, CC0, Rachel Michetti; camera, CC0, Lav Varshney; grace_hopper, U.S.
Navy).

data/selfcheck_crops.png has crops of 48 x 48 pixels, side by side: skin and dark cloth
(grace_hopper), grass and sky (camera), edges (coffee), handwriting (text, public domain), fur
(chelsea, CC0, Stefan van der Walt) and a dark sky (rocket, public domain, SpaceX). They are chosen
so that the mean PSNR of bf16 and INT8 on them is within 1 dB of that on tiles of many photos, for
several networks. The last three photos are among those for training too; what a network learned
from them does not change how it rounds.
"""

from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 96
CROP = 48


@cache
def load_photo_tiles() -> NDArray[np.uint8]:
    """Load the tiles as uint8 RGB, (tiles, 96, 96, 3). Do not modify the array."""
    return _load_strip("photo_tiles.png", TILE)


@cache
def load_selfcheck_crops() -> NDArray[np.uint8]:
    """Load the crops as uint8 RGB, (crops, 48, 48, 3). Do not modify the array."""
    return _load_strip("selfcheck_crops.png", CROP)


def _load_strip(name: str, side: int) -> NDArray[np.uint8]:
    data = (files("restora_export") / "data" / name).read_bytes()
    strip = np.asarray(Image.open(BytesIO(data), formats=["PNG"]).convert("RGB"))
    tiles = strip.reshape(side, -1, side, 3).swapaxes(0, 1).copy()
    tiles.flags.writeable = False
    return tiles

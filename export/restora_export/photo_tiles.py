"""Real photo tiles, bundled with the exporter, to measure accuracy and seams.

data/photo_tiles.png has tiles of 96 x 96 pixels, side by side, of three free photos that are not
used for training (coffee, CC0, Rachel Michetti; camera, CC0, Lav Varshney; grace_hopper, U.S.
Navy).
"""

from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 96


@cache
def load_photo_tiles() -> NDArray[np.uint8]:
    """Load the tiles as uint8 RGB, (tiles, 96, 96, 3). Do not modify the array."""
    data = (files("restora_export") / "data" / "photo_tiles.png").read_bytes()
    strip = np.asarray(Image.open(BytesIO(data), formats=["PNG"]).convert("RGB"))
    tiles = strip.reshape(TILE, -1, TILE, 3).swapaxes(0, 1).copy()
    tiles.flags.writeable = False
    return tiles

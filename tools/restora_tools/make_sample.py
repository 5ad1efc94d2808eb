"""Make the bundled sample photo: `python -m restora_tools.make_sample`.

grace_hopper.jpg (U.S. Navy, public domain; never trained on), degraded with the mild blind model:
sigma 0.8, half size, noise 6, JPEG quality 75.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from restora_calibration.degrade import Degradation, degrade_photo
from restora_calibration.photos import HELD_OUT, read_free_photo

HOW = Degradation(sigma=0.8, shrink=2, noise=6, quality=None)
QUALITY = 75
TARGET = Path("engine/restora/data/sample.jpg")


def make_sample() -> bytes:
    """The sample's JPEG bytes."""
    (photo,) = [photo for photo in HELD_OUT if photo.name == "grace_hopper"]
    degraded = degrade_photo(read_free_photo(photo), HOW, np.random.default_rng(1906))
    stream = BytesIO()
    Image.fromarray(degraded).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


if __name__ == "__main__":
    TARGET.write_bytes(make_sample())

"""Free photos from scikit-image and matplotlib, split into training and held-out photos.

Only photos with a CC0 license or in the public domain are listed (docstrings of skimage.data;
grace_hopper.jpg is a U.S. Navy portrait). The held-out photos are never used for training.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FreePhoto:
    """An image file of an installed package."""

    name: str
    package: str
    path: str
    license: str


def _skimage(name: str, file: str, terms: str) -> FreePhoto:
    return FreePhoto(name, "skimage", f"data/{file}", terms)


TRAINING = (
    _skimage("astronaut", "astronaut.png", "public domain, NASA"),
    _skimage("chelsea", "chelsea.png", "CC0, Stefan van der Walt"),
    _skimage("rocket", "rocket.jpg", "public domain, SpaceX"),
    _skimage("hubble_deep_field", "hubble_deep_field.jpg", "public domain, NASA"),
    _skimage("retina", "retina.jpg", "CC0, Mikael Haeggstroem"),
    _skimage("immunohistochemistry", "ihc.png", "no known copyright restrictions"),
    _skimage("cell", "cell.png", "CC0, Pauli Virtanen and others"),
    _skimage("brick", "brick.png", "CC0, cc0textures.com"),
    _skimage("grass", "grass.png", "CC0, Wikimedia Commons"),
    _skimage("gravel", "gravel.png", "CC0, cc0textures.com"),
    _skimage("coins", "coins.png", "no known copyright restrictions"),
    _skimage("text", "text.png", "public domain"),
)
HELD_OUT = (
    _skimage("coffee", "coffee.png", "CC0, Rachel Michetti"),
    _skimage("camera", "camera.png", "CC0, Lav Varshney"),
    FreePhoto(
        "grace_hopper",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "public domain, U.S. Navy",
    ),
)


def read_free_photo(photo: FreePhoto) -> Photo:
    """Read a photo as uint8 RGB, (height, width, 3), cropped to even sides."""
    with (files(photo.package) / photo.path).open("rb") as stream:
        pixels = np.asarray(Image.open(stream).convert("RGB"))
    height, width = pixels.shape[:2]
    return pixels[: height // 2 * 2, : width // 2 * 2]


def read_photo_of_size(width: int, height: int) -> Photo:
    """A held-out photo resized to any size, for speed measurements: uint8 RGB."""
    return np.asarray(
        Image.fromarray(read_free_photo(HELD_OUT[0])).resize(
            (width, height), Image.Resampling.BICUBIC
        )
    )

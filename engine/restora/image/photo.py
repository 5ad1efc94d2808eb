"""What a decoded picture is: its pixels, its transparency and what came with the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from restora.errors import ShapeError

Pixels = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Byte blocks carried from the input file to the output file, unchanged.

    icc: ICC profile
    exif: EXIF block, a TIFF structure without the "Exif\\0\\0" prefix; no orientation but 1
    xmp: XMP packet
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """One upright picture.

    pixels: uint8 or uint16, RGB (height, width, 3) or gray (height, width)
    alpha: same dtype, (height, width), 0 = transparent; None for an opaque picture
    format: name of the file format it came from, as Pillow names it; None if made in memory
    """

    pixels: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str | None = None

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise ShapeError(
                f"pixels must have shape (height, width) or (height, width, 3), got {pixels.shape}"
            )
        if pixels.dtype not in (np.uint8, np.uint16):
            raise ShapeError(f"pixels must be uint8 or uint16, got {pixels.dtype}")
        if 0 in pixels.shape:
            raise ShapeError(f"a photo must have at least one pixel, got shape {pixels.shape}")
        if alpha is not None and (alpha.shape, alpha.dtype) != (pixels.shape[:2], pixels.dtype):
            raise ShapeError(
                f"alpha must be {pixels.dtype} of shape {pixels.shape[:2]}, "
                f"got {alpha.dtype} of shape {alpha.shape}"
            )

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def is_gray(self) -> bool:
        return self.pixels.ndim == 2

    @property
    def white(self) -> int:
        """The largest value of a channel: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

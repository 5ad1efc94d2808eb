"""Measure the error along the seams of tiles, depending on their overlap."""

from bisect import bisect_left
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restora.backends import Batch, Session
from restora.tiling import Blend, Tiling, run_tiles
from restora_export.photo_tiles import load_photo_tiles
from restora_export.verify import psnr_from_difference

SEAM_TARGET_DB = 55.0  # 5 dB above the FP16 accuracy gate
OVERLAPS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 160, 192)
_LONG = (288, 96)
BAND = 8  # input pixels on either side of a seam that are compared


@dataclass(frozen=True, slots=True)
class SeamError:
    """The error of a tiled photo against the whole photo, in bands along the seams.

    psnr: PSNR in dB
    max_error: the largest error, as a share of the value range
    """

    overlap_px: int
    psnr: float
    max_error: float


def make_seam_photo() -> NDArray[np.uint8]:
    """A real photo of four tiles: (192, 192, 3) uint8 RGB."""
    a, b, c, d = load_photo_tiles()[:4]
    return np.concatenate((np.concatenate((a, b), 1), np.concatenate((c, d), 1)), 0)


def load_long_photo() -> NDArray[np.uint8]:
    """A real photo in one piece, long enough for the largest overlap: (288, 96, 3) uint8 RGB.

    A seam of a montage would be measured at edges that photos do not have.
    """
    data = (files("restora") / "data" / "sample.jpg").read_bytes()
    photo = np.asarray(Image.open(BytesIO(data), formats=["JPEG"]).convert("RGB"))
    top, left = ((side - wanted) // 2 for side, wanted in zip(photo.shape, _LONG, strict=False))
    return photo[top : top + _LONG[0], left : left + _LONG[1]].copy()


def measure_seams(
    session: Session,
    photo: NDArray[np.uint8],
    *,
    overlap_px: int,
    tile: int = 128,
    blend: Blend = "cosine",
    whole: Batch | None = None,
) -> SeamError:
    """Compare the tiled result of a photo with its result as a whole.

    photo: uint8 RGB, (height, width, 3), with sides that are multiples of that of the session
    whole: the result as a whole, of restore_whole; None computes it
    """
    if whole is None:
        whole = restore_whole(session, photo)
    image = _as_input(session, photo)
    white = 255.0 if session.info.io == "uint8" else 1.0
    scale, multiple = session.info.scale, session.limits.multiple
    tiling = Tiling(size=tile, overlap=overlap_px, blend=blend)
    tiled = run_tiles(image, session.run, scale=scale, tiling=tiling, multiple=multiple)
    difference = (tiled.astype(np.float64) - whole.astype(np.float64)) / white
    near = np.zeros(whole.shape[:2], bool)
    height, width, _ = image.shape
    for axis, spans in enumerate(tiling.split(height, width, multiple)):
        for span in spans[1:]:
            low, high = (span.left - BAND) * scale, (span.left + BAND) * scale
            near[(slice(None),) * axis + (slice(max(0, low), high),)] = True
    return SeamError(
        overlap_px, psnr_from_difference(difference[near]), float(np.abs(difference).max())
    )


def restore_whole(session: Session, photo: NDArray[np.uint8]) -> Batch:
    """The result of a photo in one tile, in the type of the session."""
    whole: Batch = session.run(_as_input(session, photo)[None])[0]
    return whole


def choose_overlap(session: Session) -> SeamError:
    """The smallest overlap of OVERLAPS whose seams reach 55 dB on a photo, or else the largest one.

    The photo is cut into two tiles along its longer side. Found by bisection: more overlap comes
    closer to the whole photo.
    """
    photo = load_long_photo()
    whole = restore_whole(session, photo)
    multiple = session.limits.multiple
    found: dict[int, SeamError] = {}

    def measure(overlap: int) -> SeamError:
        if overlap not in found:
            even = -(-(photo.shape[0] + overlap) // 2)
            tile = -(-even // multiple) * multiple
            found[overlap] = measure_seams(
                session, photo, overlap_px=overlap, tile=tile, whole=whole
            )
        return found[overlap]

    index = bisect_left(OVERLAPS, SEAM_TARGET_DB, key=lambda overlap: measure(overlap).psnr)
    return measure(OVERLAPS[min(index, len(OVERLAPS) - 1)])


def _as_input(session: Session, photo: NDArray[np.uint8]) -> Batch:
    return photo if session.info.io == "uint8" else photo.astype(np.float32) / np.float32(255)

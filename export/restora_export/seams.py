"""Measure the error along the seams of tiles, depending on their overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restora.backends import Batch, Session
from restora.tiling import Blend, Tiling, run_tiles
from restora_export.photo_tiles import load_photo_tiles
from restora_export.verify import psnr_from_difference

SEAM_GATE_DB = 50.0
SEAM_TARGET_DB = 55.0  # 5 dB above the FP16 accuracy gate
OVERLAPS = (8, 16, 24, 32, 48, 64)
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


def measure_seams(
    session: Session,
    photo: NDArray[np.uint8],
    *,
    overlap_px: int,
    tile: int = 128,
    blend: Blend = "cosine",
) -> SeamError:
    """Compare the tiled result of a photo with its result as a whole.

    photo: uint8 RGB, (height, width, 3), with sides that are multiples of that of the session
    """
    image: Batch = (
        photo if session.info.io == "uint8" else photo.astype(np.float32) / np.float32(255)
    )
    white = 255.0 if session.info.io == "uint8" else 1.0
    scale, multiple = session.info.scale, session.limits.multiple
    tiling = Tiling(size=tile, overlap=overlap_px, blend=blend)
    whole = session.run(image[None])[0]
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


def choose_overlap(session: Session) -> SeamError:
    """The smallest overlap whose seams reach 55 dB on a real photo, or else the largest one."""
    photo = make_seam_photo()
    error = None
    for overlap in OVERLAPS:
        error = measure_seams(session, photo, overlap_px=overlap)
        if error.psnr >= SEAM_TARGET_DB:
            return error
    assert error is not None
    return error

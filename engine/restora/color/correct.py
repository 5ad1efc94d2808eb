"""Find and apply a correction of color: a monotone curve for each channel.

A curve moves the black and the white of a channel, the values that nearly all of its pixels lie
between (Limare et al., "Simplest Color Balance", IPOL 2011). How far it does depends on how surely
the picture has faded, so that one that has not stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from restora.color.measure import Fading, Pixels, Triple, measure_fading
from restora.image import Photo

ColorMode = Literal["off", "balance", "unfade"]

# no fading below the first, full fading from the second; see docs/damage.md for how photos measure
_LIFTED_BLACK = (0.12, 0.20)  # of the luma: dark parts of a faded print are no longer dark
_COLORED_BLACK = (0.10, 0.20)  # difference between channels
_COLORED_WHITE = (0.12, 0.25)
_TINTED = (0.30, 0.55)  # share of light pixels that have the tint of the white
_STEEPEST = 3.0  # steeper curves show noise more than they help
_BLACK, _WHITE = 0.02, 0.97  # of a print that has not faded
_LUMA = (0.299, 0.587, 0.114)
_FINE = 16  # parts of a level of 8 bits
_ROWS = 256  # that are in progress at once: memory stays flat for large prints


@dataclass(frozen=True, slots=True)
class ColorCorrection:
    """Curves for R, G and B. Values are 0..1.

    black, white: values of a channel that become `to_black` and `to_white`; a curve is straight
        between them, and beyond them it goes on towards 0 and 1, so that no detail is cut off
    strength: 0 changes nothing, 1 applies the curves fully
    """

    black: Triple = (0.0, 0.0, 0.0)
    white: Triple = (1.0, 1.0, 1.0)
    to_black: float = 0.0
    to_white: float = 1.0
    strength: float = 0.0

    @property
    def changes(self) -> bool:
        return self.strength > 0

    def as_row(self) -> dict[str, Any]:
        """As a JSON object."""
        row: dict[str, Any] = {"changed": self.changes, "strength": round(self.strength, 3)}
        if self.changes:
            row |= {name: [round(v, 3) for v in getattr(self, name)] for name in ("black", "white")}
        return row

    def curve(self, channel: int, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """The corrected values of one channel. Never decreases."""
        black, white = self.black[channel], self.white[channel]
        # a jump at the end would turn the flat light of clipped pixels into noise
        lowest = max(0.0, self.to_black - _STEEPEST * black)
        highest = min(1.0, self.to_white + _STEEPEST * (1 - white))
        made = np.interp(
            values, [0.0, black, white, 1.0], [lowest, self.to_black, self.to_white, highest]
        )
        return np.asarray(values + self.strength * (made - values), np.float64)


def find_correction(pixels: Pixels, mode: ColorMode) -> ColorCorrection:
    """Find the correction of a picture.

    pixels: uint8 or uint16; RGB (height, width, 3) or gray (height, width)
    mode: "balance" removes a cast and keeps the contrast; "unfade" restores the contrast too; "off"
        changes nothing

    Gray and toned pictures get one curve for all channels, so that they keep their tone, and have
    no cast.
    """
    if mode == "off":
        return ColorCorrection()
    fading = measure_fading(pixels)
    cast = 0.0 if fading.toned else _strength_of_cast(fading)
    if mode == "balance":
        ends = _luma(fading.black), _luma(fading.white)
        return _limited(fading.black, fading.white, *ends, strength=cast)
    lifted = _ramp(_luma(fading.black), *_LIFTED_BLACK)
    black, white = fading.black, fading.white
    if fading.toned:
        black, white = (_luma(black),) * 3, (_luma(white),) * 3
    # a channel that is wide enough already is not made narrower
    black = (max(black[0], _BLACK), max(black[1], _BLACK), max(black[2], _BLACK))
    white = (min(white[0], _WHITE), min(white[1], _WHITE), min(white[2], _WHITE))
    return _limited(black, white, _BLACK, _WHITE, strength=max(cast, lifted))


def correct_photo(photo: Photo, mode: ColorMode) -> tuple[Photo, ColorCorrection]:
    """The photo in corrected colors, and how they were corrected; transparency stays."""
    correction = find_correction(photo.pixels, mode)
    if not correction.changes:
        return photo, correction
    return replace(photo, pixels=correct_color(photo.pixels, correction)), correction


def correct_color(pixels: Pixels, correction: ColorCorrection) -> Pixels:
    """Apply a correction. Returns the same shape and dtype.

    Pixels of 8 bits are dithered before the curve: a stretched level becomes all those between it
    and the next one, and no bands show. The pattern depends on the place of a pixel alone
    (interleaved gradient noise, Jimenez, 2014).
    """
    if not correction.changes:
        return pixels
    fine = _FINE if pixels.dtype == np.uint8 else 1
    tables = [_make_table(correction, channel, pixels.dtype, fine) for channel in range(3)]
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    result = np.empty_like(planes)
    for row in range(0, len(planes), _ROWS):
        part = planes[row : row + _ROWS]
        offset = _dither(row, part.shape[:2], fine)
        for channel in range(planes.shape[2]):
            places = part[..., channel].astype(np.uint32) * np.uint32(fine) + offset
            result[row : row + _ROWS, :, channel] = tables[channel][places]
    return result.reshape(pixels.shape)


def _make_table(
    correction: ColorCorrection, channel: int, dtype: np.dtype[Any], fine: int
) -> Pixels:
    """The result for each level, in `fine` steps from half a level below to half a level above."""
    largest = int(np.iinfo(dtype).max)
    steps = np.arange((largest + 1) * fine)
    levels = np.clip((steps + 0.5) / fine - 0.5, 0, largest)
    made = np.rint(correction.curve(channel, levels / largest) * largest)
    return np.asarray(made.astype(dtype))


def _strength_of_cast(fading: Fading) -> float:
    white = _ramp(max(fading.white) - min(fading.white), *_COLORED_WHITE)
    black = _ramp(max(fading.black) - min(fading.black), *_COLORED_BLACK)
    return max(white * _ramp(fading.tinted, *_TINTED), black)


def _limited(
    black: Triple, white: Triple, to_black: float, to_white: float, *, strength: float
) -> ColorCorrection:
    """A correction whose curves are no steeper than they may be."""
    ends = [
        _apart(low, high, (to_white - to_black) / _STEEPEST)
        for low, high in zip(black, white, strict=True)
    ]
    (r0, r1), (g0, g1), (b0, b1) = ends
    return ColorCorrection((r0, g0, b0), (r1, g1, b1), to_black, to_white, strength)


def _apart(black: float, white: float, least: float) -> tuple[float, float]:
    """Black and white, moved apart to a distance of at least `least`, within 0..1."""
    missing = max(0.0, least - (white - black))
    black = min(max(0.0, black - missing / 2), 1 - least)
    return black, max(white, black + least)


def _ramp(value: float, none: float, full: float) -> float:
    """0 at `none`, 1 at `full`, smooth between."""
    share = min(1.0, max(0.0, (value - none) / (full - none)))
    return share * share * (3 - 2 * share)


def _dither(first_row: int, shape: tuple[int, int], fine: int) -> NDArray[np.uint32]:
    """A step of 0..fine-1 for each pixel."""
    rows, columns = np.mgrid[first_row : first_row + shape[0], : shape[1]]
    noise = (52.9829189 * ((0.06711056 * columns + 0.00583715 * rows) % 1)) % 1
    return np.asarray(noise * fine, np.uint32)


def _luma(values: Triple) -> float:
    return sum(weight * value for weight, value in zip(_LUMA, values, strict=True))

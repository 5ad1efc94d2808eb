"""Find and apply a correction of color: a monotone curve for each channel.

A curve stretches the values between the black and the white of a channel (Limare et al., "Simplest
Color Balance", IPOL 2011) and bends so that the middle of the picture loses its cast (gray world,
Buchsbaum, 1980). It is limited, so that a picture that has not faded stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from restora.color.measure import Fading, Pixels, Triple, measure_fading
from restora.image import Photo

ColorMode = Literal["off", "balance", "unfade"]

_GOOD_BLACK, _FADED_BLACK = 0.05, 0.12  # a lifted black is the surest sign of fading
_GOOD_SPAN, _FADED_SPAN = 0.80, 0.62  # white - black of the luma
_GOOD_CAST, _FADED_CAST = 0.10, 0.20  # difference of the channels' whites
_STEEPEST = 3.0  # steeper curves show noise and banding more than they help
_BENT = (0.6, 1.6)  # limits of the exponent
_TARGET_BLACK, _TARGET_WHITE = 0.02, 0.97
_GRAY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class ColorCorrection:
    """Curves for R, G and B: ((x - black) / (white - black)) ** exponent, scaled to
    target_black..target_white and blended with x.

    strength: 0 changes nothing, 1 applies the curves fully
    """

    black: Triple
    white: Triple
    exponent: Triple
    strength: float

    @property
    def changes(self) -> bool:
        return self.strength > 0

    def as_row(self) -> dict[str, Any]:
        """As a JSON object."""
        row: dict[str, Any] = {"changed": self.changes, "strength": round(self.strength, 3)}
        if self.changes:
            for name in ("black", "white", "exponent"):
                row[name] = [round(value, 3) for value in getattr(self, name)]
        return row

    def curve(self, channel: int, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """The corrected values of one channel; values are 0..1. Never decreases."""
        black, white = self.black[channel], self.white[channel]
        span = np.clip((values - black) / (white - black), 0, 1)
        made = _TARGET_BLACK + (_TARGET_WHITE - _TARGET_BLACK) * span ** self.exponent[channel]
        # beyond black and white the curve goes on to 0 and 1, so no detail is cut off
        below = values / black * _TARGET_BLACK if black > 0 else made
        above = 1 - (1 - values) / max(1 - white, 1e-9) * (1 - _TARGET_WHITE)
        made = np.where(values < black, below, np.where(values > white, above, made))
        return np.asarray(values + self.strength * (made - values), np.float64)


def find_correction(pixels: Pixels, mode: ColorMode) -> ColorCorrection:
    """Find the correction of a picture.

    pixels: uint8 or uint16; RGB (height, width, 3) or gray (height, width)
    mode: "balance" removes a cast and keeps the contrast; "unfade" restores the contrast too; "off"
        changes nothing

    Gray and toned pictures get one curve for all channels, so they keep their tone.
    """
    fading = measure_fading(pixels)
    if mode == "off" or (mode == "balance" and fading.toned):
        return _nothing()
    if fading.toned:
        black, white = _luma(fading.black), _luma(fading.white)
        strength = _strength_of_fading(black, white)
        black, white = _limit(black, white)
        return ColorCorrection((black,) * 3, (white,) * 3, (1.0,) * 3, strength)
    if mode == "balance":
        return _balance(fading)
    return _unfade(fading)


def correct_color(pixels: Pixels, correction: ColorCorrection) -> Pixels:
    """Apply a correction. Returns the same shape and dtype.

    8-bit results are dithered, so that stretched values show no bands. The pattern depends on the
    place of a pixel alone (interleaved gradient noise, Jimenez, 2014).
    """
    if not correction.changes:
        return pixels
    largest = int(np.iinfo(pixels.dtype).max)
    inputs = np.arange(largest + 1) / largest
    tables = [(correction.curve(channel, inputs) * largest) for channel in range(3)]
    result = np.empty_like(pixels)
    channels = 1 if pixels.ndim == 2 else 3
    for row in range(0, len(pixels), _ROWS):
        part = pixels[row : row + _ROWS]
        dither = _dither(row, part.shape[:2]) if pixels.dtype == np.uint8 else 0.5
        for channel in range(channels):
            of_channel = (slice(None), slice(None), channel) if channels == 3 else ()
            made = tables[channel][part[of_channel]]
            target = result[row : row + _ROWS]
            target[of_channel] = np.clip(np.floor(made + dither), 0, largest)
    return result


_ROWS = 256  # rows in progress at once: memory stays flat for large prints


def correct_photo(photo: Photo, mode: ColorMode) -> tuple[Photo, ColorCorrection]:
    """The photo in corrected colors, and how they were corrected; transparency stays."""
    correction = find_correction(photo.pixels, mode)
    if not correction.changes:
        return photo, correction
    return replace(photo, pixels=correct_color(photo.pixels, correction)), correction


def _balance(fading: Fading) -> ColorCorrection:
    """Bring the channels together; the luma keeps its black and white."""
    luma_black, luma_white = _luma(fading.black), _luma(fading.white)
    strength = max(
        _between(max(fading.white) - min(fading.white), _GOOD_CAST, _FADED_CAST),
        _between(max(fading.black) - min(fading.black), _GOOD_CAST / 2, _FADED_CAST / 2),
    )
    # curves end at the targets: undo that for the luma's own black and white
    scale = (luma_white - luma_black) / (_TARGET_WHITE - _TARGET_BLACK)
    offset = luma_black - _TARGET_BLACK * scale
    black, white = [], []
    for low, high in zip(fading.black, fading.white, strict=True):
        slope = (high - low) / max(luma_white - luma_black, 1e-6)
        limited = _limit(
            low + slope * (_TARGET_BLACK - luma_black) + 0 * offset,
            low + slope * (_TARGET_WHITE - luma_black),
        )
        black.append(limited[0])
        white.append(limited[1])
    return ColorCorrection(_as_triple(black), _as_triple(white), (1.0,) * 3, strength)


def _unfade(fading: Fading) -> ColorCorrection:
    strength = max(
        _strength_of_fading(_luma(fading.black), _luma(fading.white)),
        _between(max(fading.black), _GOOD_BLACK, _FADED_BLACK),
        _between(max(fading.white) - min(fading.white), _GOOD_CAST, _FADED_CAST),
    )
    ends = [_limit(low, high) for low, high in zip(fading.black, fading.white, strict=True)]
    middles = [
        min(0.95, max(0.05, (middle - low) / (high - low)))
        for middle, (low, high) in zip(fading.middle, ends, strict=True)
    ]
    goal = math.exp(sum(math.log(value) for value in middles) / 3)
    # half of the cast of the middle is removed: the rest may be what was photographed
    exponents = [
        min(_BENT[1], max(_BENT[0], (math.log(goal) / math.log(value)) ** 0.5)) for value in middles
    ]
    return ColorCorrection(
        _as_triple([low for low, _ in ends]),
        _as_triple([high for _, high in ends]),
        _as_triple(exponents),
        strength,
    )


def _strength_of_fading(black: float, white: float) -> float:
    lifted = _between(black, _GOOD_BLACK, _FADED_BLACK)
    flat = _between(-(white - black), -_GOOD_SPAN, -_FADED_SPAN)
    return max(lifted, flat if black > _GOOD_BLACK else 0.0)


def _limit(black: float, white: float) -> tuple[float, float]:
    """Move black and white apart until the curve is no steeper than it may be."""
    black, white = min(max(black, 0.0), 1.0), min(max(white, 0.0), 1.0)
    missing = 1 / _STEEPEST - (white - black)
    if missing <= 0:
        return black, white
    black = max(0.0, black - missing / 2)
    return black, min(1.0, black + 1 / _STEEPEST)


def _between(value: float, none: float, full: float) -> float:
    """0 at `none`, 1 at `full`, smooth between."""
    share = min(1.0, max(0.0, (value - none) / (full - none)))
    return share * share * (3 - 2 * share)


def _dither(first_row: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = np.mgrid[first_row : first_row + shape[0], : shape[1]]
    return np.asarray((52.9829189 * ((0.06711056 * columns + 0.00583715 * rows) % 1)) % 1)


def _luma(values: Triple) -> float:
    return sum(weight * value for weight, value in zip(_GRAY, values, strict=True))


def _as_triple(values: list[float]) -> Triple:
    red, green, blue = values
    return red, green, blue


def _nothing() -> ColorCorrection:
    return ColorCorrection((0.0,) * 3, (1.0,) * 3, (1.0,) * 3, 0.0)

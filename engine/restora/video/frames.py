"""Convert frames to RGB and back, with the matrix and range of the video, never a default."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from restora.errors import VideoError
from restora.video.decode import Decoded
from restora.video.fit import fit_pixels
from restora.video.source import VideoFacts, is_full_range, matrix_of

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8 | np.uint16]
# swscale's numbers of matrices, by ITU-T H.273's
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT2020, _BT2020_SINCE = (9, 10), 18
_LIMITED, _FULL = 1, 2
# FFmpeg's SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT and SWS_FULL_CHR_H_INP (swscale.h), as
# a number: PyAV names the flags since version 18, and Python 3.10 gets 17
_EXACT: Any = 0x4 | 0x40000 | 0x2000 | 0x4000


# transfer functions of ITU-T H.273; all others encode SDR
_LIGHT = {16: "HDR (PQ)", 18: "HDR (HLG)"}
_UNSPECIFIED = (0, 2)
_ALIKE = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """Properties that may change from one frame to the next.

    light: SDR, PQ or HLG; None if there is no tag
    """

    width: int
    height: int
    rotation: int
    pixels: str
    matrix: int
    full_range: bool
    light: str | None

    def __str__(self) -> str:
        turned = f", rotated by {self.rotation} degrees" if self.rotation else ""
        reach = "full" if self.full_range else "limited"
        return (
            f"{self.width} x {self.height}{turned} in {self.pixels}, matrix {self.matrix}, "
            f"{reach} range"
        )


class FrameConverter:
    """Converts the frames of one video to RGB arrays and back: uint8, or uint16 for more than 8
    bits.

    Each frame is read with its own matrix and range. A frame whose size or rotation differs from
    the first is rotated and scaled to fit it, as players do, with black bars where its shape
    differs.

    pixels: FFmpeg's name of the result's pixel format

    fitted: frames that were rotated or scaled

    Raises VideoError for a matrix that this PyAV does not know.
    """

    def __init__(self, facts: VideoFacts, pixels: str) -> None:
        _require_known(facts.real_matrix)
        self.facts = facts
        self.pixels = pixels
        self.fitted = 0
        self._rgb = "rgb24" if facts.bits == 8 else "rgb48le"
        self._dtype: Any = np.uint8 if facts.bits == 8 else np.uint16
        self._matrix = _SWSCALE.get(facts.real_matrix, 1)
        self._range = _FULL if facts.full_range else _LIMITED
        self._reader, self._writer = VideoReformatter(), VideoReformatter()
        self._seen = _format_of(facts)
        self._rotation = facts.rotation

    def to_rgb(self, decoded: Decoded) -> Pixels:
        """Returns (height, width, 3) of the first frame, contiguous.

        Raises VideoError for a frame whose light (SDR, PQ or HLG) differs from that of the first.
        """
        frame = decoded.frame
        now = self._check(decoded)
        turned = self._reader.reformat(
            frame,
            format=self._rgb,
            src_colorspace=_SWSCALE.get(now.matrix, 1),
            src_color_range=_FULL if now.full_range else _LIMITED,
            dst_color_range=_FULL,
            interpolation=_EXACT,
        )
        pixels: Pixels = np.ascontiguousarray(turned.to_ndarray(), self._dtype)
        facts = self.facts
        first = facts.aspect or Fraction(1)
        shape = decoded.aspect or first
        same_size = (now.width, now.height) == (facts.width, facts.height)
        if same_size and now.rotation == facts.rotation and _are_alike(shape, first):
            return pixels
        self.fitted += 1
        turns = (now.rotation - facts.rotation) / 90
        if turns != int(turns):
            raise VideoError(
                f"a frame is rotated by {now.rotation} degrees, the first one by "
                f"{facts.rotation}: the difference must be a multiple of 90 degrees"
            )
        if int(turns) % 2:
            shape = 1 / shape
        return fit_pixels(
            np.rot90(pixels, int(turns)), (facts.width, facts.height), shape=float(shape / first)
        )

    def _check(self, decoded: Decoded) -> FrameFormat:
        """How to read the frame; logs a change."""
        frame = decoded.frame
        # in H.264 and H.265 only key frames carry the rotation; it holds until the next one
        if frame.rotation or frame.key_frame:
            self._rotation = int(frame.rotation)
        now = _format_of_frame(frame, self._rotation)
        if now != self._seen:
            _require_known(now.matrix)
            first = _format_of(self.facts)
            if now.light is not None and first.light is not None and now.light != first.light:
                raise VideoError(
                    f"the video changes from {first.light} to {now.light}: one file cannot hold "
                    "both; split it there"
                )
            logger.warning("the video changes: %s, before %s", now, self._seen)
            self._seen = now
        return now

    def to_frame(self, pixels: Pixels, like: Time) -> av.VideoFrame:
        """A frame of the result, with the time of its source."""
        array: Any = np.ascontiguousarray(pixels, self._dtype)
        frame = av.VideoFrame.from_ndarray(array, format=self._rgb)
        frame = self._writer.reformat(
            frame,
            format=self.pixels,
            dst_colorspace=self._matrix,
            src_color_range=_FULL,
            dst_color_range=self._range,
            interpolation=_EXACT,
        )
        frame.pts, frame.time_base = like
        return frame


Time = tuple[int, Any]  # pts and time base


def result_pixels(facts: VideoFacts) -> str:
    """The chroma subsampling of the source where encoders support it, in 8 or 10 bits."""
    kept = next((name for name in ("444", "422") if name in facts.pixels), "420")
    return f"yuv{kept}p" if facts.bits == 8 else f"yuv{kept}p10le"


def _format_of(facts: VideoFacts) -> FrameFormat:
    return FrameFormat(
        facts.width,
        facts.height,
        facts.rotation,
        facts.pixels,
        facts.real_matrix,
        facts.full_range,
        _light_of(facts.transfer),
    )


def _format_of_frame(frame: VideoFrame, rotation: int) -> FrameFormat:
    pixels = frame.format.name
    return FrameFormat(
        frame.width,
        frame.height,
        rotation,
        pixels,
        matrix_of(int(frame.colorspace), frame.height),
        is_full_range(int(frame.color_range), pixels),
        _light_of(int(frame.color_trc)),
    )


def _are_alike(one: Fraction, other: Fraction) -> bool:
    """Whether the difference of two pixel aspect ratios is invisible."""
    return abs(one / other - 1) < _ALIKE


def _light_of(transfer: int) -> str | None:
    return None if transfer in _UNSPECIFIED else _LIGHT.get(transfer, "SDR")


def _require_known(matrix: int) -> None:
    if matrix in _BT2020 and int(av.__version__.split(".")[0]) < _BT2020_SINCE:
        raise VideoError(
            f"BT.2020 colors need PyAV {_BT2020_SINCE} or newer (Python 3.11); PyAV "
            f"{av.__version__} would read them as BT.601"
        )

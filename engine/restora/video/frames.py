"""Frames to RGB and back, with the matrix and range that the video says, never a default."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from restora.errors import VideoError
from restora.video.source import VideoFacts

Pixels = NDArray[np.uint8 | np.uint16]
# swscale's numbers of matrices, by ITU-T H.273's
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT2020, _BT2020_SINCE = (9, 10), 18
_LIMITED, _FULL = 1, 2
# FFmpeg's SWS_BICUBIC, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT and SWS_FULL_CHR_H_INP (swscale.h); as
# a number, since PyAV has names for the flags from 18 on, and Python 3.10 gets 17
_EXACT: Any = 0x4 | 0x40000 | 0x2000 | 0x4000


class FrameConverter:
    """Between the frames of one video and RGB arrays: uint8, or uint16 for more than 8 bits.

    pixels  FFmpeg's name of the result's pixel format

    Raises VideoError for a matrix that this PyAV does not know.
    """

    def __init__(self, facts: VideoFacts, pixels: str) -> None:
        if facts.real_matrix in _BT2020 and int(av.__version__.split(".")[0]) < _BT2020_SINCE:
            raise VideoError(
                f"colours of BT.2020 need PyAV {_BT2020_SINCE} or newer (Python 3.11), here is "
                f"{av.__version__}, which would take them for BT.601"
            )
        self.facts = facts
        self.pixels = pixels
        self._rgb = "rgb24" if facts.bits == 8 else "rgb48le"
        self._dtype: Any = np.uint8 if facts.bits == 8 else np.uint16
        self._matrix = _SWSCALE.get(facts.real_matrix, 1)
        self._range = _FULL if facts.full_range else _LIMITED
        self._reader, self._writer = VideoReformatter(), VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame) -> Pixels:
        """(height, width, 3), contiguous."""
        turned = self._reader.reformat(
            frame,
            format=self._rgb,
            src_colorspace=self._matrix,
            src_color_range=self._range,
            dst_color_range=_FULL,
            interpolation=_EXACT,
        )
        return np.ascontiguousarray(turned.to_ndarray(), self._dtype)

    def to_frame(self, pixels: Pixels, like: Time) -> av.VideoFrame:
        """A frame of the result, at the time of its source."""
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
    """The source's subsampling of colour where encoders take it, in 8 or 10 bits."""
    kept = next((name for name in ("444", "422") if name in facts.pixels), "420")
    return f"yuv{kept}p" if facts.bits == 8 else f"yuv{kept}p10le"

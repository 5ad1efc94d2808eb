"""YUV4MPEG2 streams as FFmpeg itself writes and reads them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from video_clips import picture

PIXELS = {
    "yuv420p": "420jpeg", "yuv422p": "422", "yuv444p": "444",
    "yuv420p10le": "420p10", "yuv422p10le": "422p10", "yuv444p10le": "444p10",
}  # fmt: skip


def write_stream(
    pixels: str = "yuv420p", *, frames: int = 3, size: tuple[int, int] = (32, 24), rate: int = 25
) -> bytes:
    """FFmpeg's own stream of clips.picture, in BT.601."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="yuv4mpegpipe", options={"strict": "-1"}) as output:
        stream: Any = output.add_stream("wrapped_avframe", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame = frame.reformat(format=pixels, dst_colorspace=5)
            frame.pts, frame.time_base = index, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def read_stream(data: bytes) -> tuple[list[NDArray[np.uint8]], str, Fraction]:
    """RGB pictures, pixel format and frame rate of a stream, as FFmpeg reads it."""
    with av.open(io.BytesIO(data), "r", format="yuv4mpegpipe") as container:
        stream = container.streams.video[0]
        pictures: list[Any] = [
            frame.reformat(format="rgb24", src_colorspace=5).to_ndarray()
            for frame in container.decode(stream)
        ]
        assert stream.pix_fmt is not None
        assert stream.average_rate is not None
        return pictures, stream.pix_fmt, stream.average_rate

"""Open a video, and say what must be kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from restora.errors import MissingBackendError, VideoError

# nothing that fetches what it names: playlists, concatenation scripts, image sequences
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,nut"
PROTOCOLS = "file"
_HD_LINES = 720
_BT709, _BT601 = 1, 5  # matrix coefficients, ITU-T H.273
_FULL_RANGE = 2
_UNSPECIFIED = (0, 2)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the result must share with its source.

    width, height  of the stored frames, before rotation
    bits           8 or 10: what is kept of each colour
    pixels         FFmpeg's name of the pixel format
    frames         as the file says; None if it does not
    rate           average frames a second
    time_base      unit of times, seconds
    rotation       degrees, counter-clockwise, by which a player turns the picture
    matrix, transfer, primaries, color_range  ITU-T H.273 and FFmpeg's numbers, as tagged
    """

    width: int
    height: int
    bits: int
    pixels: str
    frames: int | None
    rate: Fraction
    time_base: Fraction
    rotation: int
    matrix: int
    transfer: int
    primaries: int
    color_range: int
    aspect: Fraction | None
    duration_s: float | None

    @property
    def real_matrix(self) -> int:
        """Where there is no tag, players go by the size."""
        if self.matrix not in _UNSPECIFIED:
            return self.matrix
        return _BT709 if self.height >= _HD_LINES else _BT601

    @property
    def full_range(self) -> bool:
        return self.color_range == _FULL_RANGE or self.pixels.startswith("yuvj")


@contextmanager
def open_video(path: Path, *, hardware: str | None = None) -> Iterator[InputContainer]:
    """Open a local video file of a format on the list, for reading.

    hardware  FFmpeg's name of a decoder device ("cuda", "vaapi"); None: decode on the CPU

    Raises VideoError if it is none, or holds no video, MissingBackendError if the device does not
    start.
    """
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    if hardware is not None:
        with open_video(path):  # tells a bad file from a device that is not there
            pass
    try:
        container = av.open(str(path), "r", options=options, hwaccel=_device(hardware))
    except FileNotFoundError as error:
        raise VideoError(f"there is no video at {path}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if hardware is not None:
            raise MissingBackendError(
                f"the decoder device {hardware} does not start here ({error}): leave --hwaccel "
                "out, and the CPU decodes"
            ) from error
        raise VideoError(f"{path} cannot be read as a video: {error}") from error
    with container:
        if not container.streams.video:
            raise VideoError(f"{path} holds no video stream")
        yield container


def read_facts(container: InputContainer) -> VideoFacts:
    """Facts about the first video stream; one frame is decoded, then the file is rewound."""
    stream = container.streams.video[0]
    context = stream.codec_context
    first = next(iter(_decode_first(container, stream)), None)
    if first is None or stream.time_base is None:
        raise VideoError(f"{container.name} holds no frame that can be decoded")
    container.seek(0)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    component = first.format.components[0]
    duration = stream.duration * stream.time_base if stream.duration else None
    return VideoFacts(
        width=first.width,
        height=first.height,
        bits=8 if component.bits <= 8 else 10,
        pixels=first.format.name,
        frames=stream.frames or None,
        rate=Fraction(rate),
        time_base=stream.time_base,
        rotation=int(first.rotation),
        matrix=int(first.colorspace),
        transfer=int(first.color_trc),
        primaries=int(first.color_primaries),
        color_range=int(first.color_range),
        aspect=context.sample_aspect_ratio or None,
        duration_s=float(duration) if duration else None,
    )


def _decode_first(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    try:
        yield from container.decode(stream)
    except av.FFmpegError as error:
        raise VideoError(f"{container.name} cannot be decoded: {error}") from error


def _device(hardware: str | None) -> Any:
    if hardware is None:
        return None
    from av.codec.hwaccel import HWAccel

    return HWAccel(hardware, allow_software_fallback=False)

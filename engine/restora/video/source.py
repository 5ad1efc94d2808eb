"""Open a video, and read the facts that its result must share."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from restora.errors import MissingBackendError, VideoError
from restora.video.trial import require_openable

# none that opens other files: playlists, concatenation scripts, image sequences
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,nut"
PROTOCOLS = "file"
MAX_PIXELS = 200_000_000  # per frame
# for opening, and for each packet: 30 GB without a packet are not read to their end
TIMEOUT_S = 10.0
_MAX_TICK_S = 3600
_HD_LINES = 720
_BT709, _BT601 = 1, 5  # matrix coefficients, ITU-T H.273
_FULL_RANGE = 2
_UNSPECIFIED = (0, 2)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Properties that the result must share with its source.

    width, height: of the stored frames, before rotation
    bits: 8 or 10, of each color of the result
    pixels: FFmpeg's name of the pixel format
    frames: as stated by the file; None if it does not
    rate: average frames per second
    time_base: unit of times, seconds
    rotation: degrees, counterclockwise, by which players rotate the picture
    matrix, transfer, primaries, color_range: numbers of ITU-T H.273 and FFmpeg, as tagged
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
        return matrix_of(self.matrix, self.height)

    @property
    def full_range(self) -> bool:
        return is_full_range(self.color_range, self.pixels)


def matrix_of(tag: int, height: int) -> int:
    """The number of ITU-T H.273; without a tag it follows from the size, as in players."""
    if tag not in _UNSPECIFIED:
        return tag
    return _BT709 if height >= _HD_LINES else _BT601


def is_full_range(tag: int, pixels: str) -> bool:
    """tag: a number of FFmpeg; pixels: its name of the pixel format"""
    return tag == _FULL_RANGE or pixels.startswith("yuvj")


@contextmanager
def open_video(
    path: Path, *, hardware: str | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[InputContainer]:
    """Open a local video file of a format on the list, for reading; a child process opens it first.

    hardware: FFmpeg's name of a decoder device ("cuda", "vaapi"); None: decode on the CPU
    max_pixels: of a frame; the decoder refuses larger ones before it allocates memory for them

    Raises VideoError if it is not a regular file, not such a video, holds no video stream, or takes
    far more memory to open than its size explains; MissingBackendError if the device does not
    start, DecoderProcessError if no child process can be started.
    """
    _require_regular_file(path)
    require_openable(path, max_pixels=max_pixels, timeout_s=TIMEOUT_S)
    with open_untried(path, hardware=hardware, max_pixels=max_pixels) as container:
        yield container


@contextmanager
def open_untried(
    path: Path,
    *,
    name: str | None = None,
    hardware: str | None = None,
    max_pixels: int,
    timeout_s: float | None = None,
) -> Iterator[InputContainer]:
    """open_video without a memory limit, for files that passed the trial, and for the process that
    tries them.

    name: of the file in messages; None: its path
    """
    name = name or str(path)
    decoding = {"max_pixels": str(max_pixels)}
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, **decoding}
    try:
        container = av.open(
            f"file:{path}",  # without it, a colon in a name would end the name of a protocol
            "r",
            options=options,
            metadata_errors="surrogateescape",  # tags in other encodings are kept as they are
            timeout=timeout_s or TIMEOUT_S,
            hwaccel=_device(hardware),
        )
    except Exception as error:  # FFmpeg's errors, and errors of PyAV on unexpected values
        if hardware is not None:
            raise MissingBackendError(
                f"the decoder device {hardware} does not start here ({error}): leave out "
                "--hwaccel to decode on the CPU"
            ) from error
        raise VideoError(f"{name} cannot be read as a video: {reason_of(error)}") from error
    with container:
        if not container.streams.video:
            raise VideoError(f"{name} holds no video stream")
        context = container.streams.video[0].codec_context
        if context is None:
            raise VideoError(f"{name} holds a video stream that this FFmpeg cannot decode")
        context.options = decoding
        yield container


def read_facts(container: InputContainer) -> VideoFacts:
    """Read facts about the first video stream. This decodes up to the first frame: open the file
    again to decode all frames.

    Raises VideoError if there is none.
    """
    stream = container.streams.video[0]
    path = path_of(container)
    width, height = require_size(container)
    first, problem = _decode_first(container, stream)
    if first is None or stream.time_base is None:
        words = f": {problem}" if problem else ""
        raise VideoError(f"{path} holds no frame of {width} x {height} that can be decoded{words}")
    try:
        return _facts_of(stream, first)
    except Exception as error:  # values that PyAV or Fraction refuse
        raise VideoError(f"{path} cannot be read as a video: {reason_of(error)}") from error


def require_size(container: InputContainer) -> tuple[int, int]:
    """Returns (width, height) of the header. Raises VideoError if no frame can have that size."""
    context = container.streams.video[0].codec_context
    width, height = context.width, context.height
    if width < 1 or height < 1:
        raise VideoError(f"{path_of(container)} does not state the size of its frames")
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{path_of(container)} has frames of {width} x {height}, the limit is "
            f"{MAX_PIXELS} pixels"
        )
    return width, height


def path_of(container: InputContainer) -> str:
    return container.name.removeprefix("file:")


def reason_of(error: BaseException) -> str:
    """FFmpeg's message, without the file's name; the type's name if there is none."""
    if isinstance(error, av.error.ExitError):
        return f"no packet was found within {TIMEOUT_S:.0f} s"
    if isinstance(error, av.FFmpegError) and error.strerror:
        return str(error.strerror)
    return str(error) or type(error).__name__


def _require_regular_file(path: Path) -> None:
    """Check without opening it: a pipe would wait for its writer."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise VideoError(f"there is no video at {path}") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be read: {reason_of(error)}") from error
    if not stat.S_ISREG(mode):
        raise VideoError(f"{path} is not a regular file: videos are read from regular files only")


def _decode_first(
    container: InputContainer, stream: VideoStream
) -> tuple[VideoFrame | None, str | None]:
    """Returns the first frame that can be decoded, and the error of the last packet."""
    problem: str | None = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except Exception as error:  # noqa: BLE001  # of FFmpeg, and of PyAV on odd values
            return None, reason_of(error)
        if packet is not None and not packet.size:
            continue  # an empty packet would end the decoding
        try:
            frames = stream.codec_context.decode(packet)
        except Exception as error:  # noqa: BLE001  # as above
            frames, problem = [], reason_of(error)
        if frames:
            return frames[0], None
        if packet is None:
            return None, problem


def _facts_of(stream: VideoStream, first: VideoFrame) -> VideoFacts:
    assert stream.time_base is not None
    if not 0 < stream.time_base <= _MAX_TICK_S:
        raise ValueError(f"its time base of {float(stream.time_base):.3g} s is too large")
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
        aspect=stream.codec_context.sample_aspect_ratio or None,
        duration_s=float(duration) if duration else None,
    )


def _device(hardware: str | None) -> Any:
    if hardware is None:
        return None
    from av.codec.hwaccel import HWAccel

    return HWAccel(hardware, allow_software_fallback=False)

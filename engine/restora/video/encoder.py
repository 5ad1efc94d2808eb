"""The video stream of the result: its encoder, its quality, and the source's tags."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from restora.errors import MissingBackendError, OptionError, VideoError
from restora.video.options import VideoOptions
from restora.video.segment_file import Encoded
from restora.video.source import VideoFacts, reason_of

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# the codec of each encoder, and its option for constant quality
_ENCODERS = {
    "libx264": ("h264", "crf"),
    "libx265": ("hevc", "crf"),
    "libsvtav1": ("av1", "crf"),
    "libvpx-vp9": ("vp9", "crf"),
    "h264_nvenc": ("h264", "cq"),
    "hevc_nvenc": ("hevc", "cq"),
    "av1_nvenc": ("av1", "cq"),
}


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that this build of FFmpeg has; fields as of VideoOptions."""

    codec: str
    crf: int
    preset: str | None

    def settings(self) -> dict[str, str]:
        found = {_ENCODERS[self.codec][1]: str(self.crf)}
        if self.codec == "libvpx-vp9":
            found["b"] = "0"
        if self.preset is not None:
            found["preset"] = self.preset
        if self.codec == "libx265":
            found["x265-params"] = "log-level=error"
        return found


def choose_encoder(options: VideoOptions, facts: VideoFacts, target: Path) -> Encoder:
    """Decide what "auto" means. Raises OptionError for an encoder that is not here."""
    codec = options.encoder
    if codec == "auto":
        codec = "libx264" if facts.bits == 8 else "libx265"
        if target.suffix.lower() == ".webm":
            codec = "libvpx-vp9"
    if codec not in av.codecs_available:
        raise OptionError(f"this build of FFmpeg has no encoder {codec}")
    return Encoder(codec, options.crf, options.preset)


def require_container(target: Path) -> str:
    """FFmpeg's name of the output format. Raises OptionError for unknown suffixes."""
    name = CONTAINERS.get(target.suffix.lower())
    if name is None:
        raise OptionError(f"the result must end in {', '.join(CONTAINERS)}, got {target.name}")
    return name


def require_encoder(
    facts: VideoFacts, encoder: Encoder, *, size: tuple[int, int], pixels: str, target: Path
) -> None:
    """Start the encoder once, before any frame is restored.

    Raises OptionError if the output format does not hold its codec, MissingBackendError if it does
    not start: no device, or an unsupported size.
    """
    format_ = require_container(target)
    with av.open(io.BytesIO(), "w", format=format_) as nothing:
        if _ENCODERS[encoder.codec][0] not in nothing.supported_codecs:
            raise OptionError(
                f"{target.suffix} does not hold what {encoder.codec} encodes: choose another "
                "--encoder or another suffix of the output"
            )
        try:
            add_video(nothing, facts, encoder, size=size, pixels=pixels).codec_context.open()
        except Exception as error:  # of FFmpeg, and of PyAV on odd values
            width, height = size
            raise MissingBackendError(
                f"the encoder {encoder.codec} does not start here for {width} x {height} in "
                f"{pixels} ({reason_of(error)}): choose another --encoder"
            ) from error


def add_video(
    output: OutputContainer,
    facts: VideoFacts,
    encoder: Encoder,
    *,
    size: tuple[int, int],
    pixels: str,
) -> VideoStream:
    """Add the stream that frames are encoded into; size: (width, height)."""
    stream = output.add_stream(encoder.codec, rate=facts.rate, options=encoder.settings())
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = pixels
    context = stream.codec_context
    context.time_base = facts.time_base
    stream.time_base = facts.time_base
    context.colorspace = facts.real_matrix
    context.color_range = 2 if facts.full_range else 1
    context.color_trc, context.color_primaries = facts.transfer, facts.primaries
    if facts.aspect is not None:
        context.sample_aspect_ratio = Fraction(facts.aspect)
    if encoder.codec in ("libx265", "hevc_nvenc") and output.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the tag that Apple's players look for
    if facts.rotation:
        stream.set_display_rotation(facts.rotation)
    return stream


def encode_frames(
    frames: Iterable[VideoFrame],
    facts: VideoFacts,
    encoder: Encoder,
    *,
    size: tuple[int, int],
    pixels: str,
    container: str,
) -> list[Encoded]:
    """Encode frames to packets that can be decoded without any others.

    container: format of the output; it decides where encoders put their headers
    """
    with av.open(io.BytesIO(), "w", format=container) as nothing:
        stream = add_video(nothing, facts, encoder, size=size, pixels=pixels)
        packets: list[Any] = []
        for frame in frames:
            packets += _encode(stream, frame)
        packets += _encode(stream, None)
    units = [packet.time_base or facts.time_base for packet in packets]
    shown = [
        _rescale(packet.pts, unit, facts.time_base)
        for packet, unit in zip(packets, units, strict=True)
    ]
    return [
        Encoded(
            bytes(packet),
            pts,
            dts,
            _rescale(packet.duration or 0, unit, facts.time_base),
            packet.is_keyframe,
        )
        for packet, unit, pts, dts in zip(packets, units, shown, decoding_times(shown), strict=True)
    ]


def decoding_times(shown: list[int]) -> list[int]:
    """Decoding times of packets in decoding order, from the times at which their frames are shown.

    They increase, none is later than its frame is shown, and they are as late as that allows. The
    encoder's own are not used: libx265 gives the frames of a very short segment times from memory
    that it never wrote.

    shown: distinct presentation times, in decoding order
    """
    ordered = sorted(shown)
    rank = {time: index for index, time in enumerate(ordered)}
    delay = max((index - rank[time] for index, time in enumerate(shown)), default=0)
    step = ordered[1] - ordered[0] if len(ordered) > 1 else 1
    early = [ordered[0] - step * (delay - index) for index in range(delay)]
    return early + ordered[: len(ordered) - delay]


def _encode(stream: Any, frame: VideoFrame | None) -> list[Any]:
    try:
        return list(stream.encode(frame))
    except Exception as error:  # of FFmpeg, and of PyAV on odd values
        at = "the last frames" if frame is None else f"the frame at time {frame.pts}"
        raise VideoError(f"{at} cannot be encoded: {reason_of(error)}") from error


def _rescale(value: int, unit: Fraction, to: Fraction) -> int:
    return value if unit == to else round(value * unit / to)

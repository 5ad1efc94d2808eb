"""Clips that tests make for themselves, and what is read back of a result."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

UNIT = Fraction(1, 12800)
FRAME = 512  # of a clip with 25 frames a second, in units
BT709 = (1, 1, 1, 1)  # matrix, range, transfer, primaries
BT2020_PQ = (9, 1, 16, 9)


@dataclass(frozen=True)
class Clip:
    """What is made. steps: of time between frames, in units, repeated."""

    frames: int = 20
    size: tuple[int, int] = (64, 48)
    steps: tuple[int, ...] = (FRAME,)
    rotation: int = 0
    ten_bits: bool = False
    tags: tuple[int, int, int, int] = BT709
    audio: bool = True
    subtitles: bool = False
    still: bool = False
    shown: tuple[int, ...] = ()  # which picture each frame shows; as many as there are frames
    title: str = "a clip"
    aspect: Fraction = Fraction(1)  # of a pixel
    options: tuple[tuple[str, str], ...] = ()


def picture(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A gradient with a bar that moves, of plain colors that 4:2:0 keeps."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(40, 210, width)
    pixels[..., 2] = np.linspace(200, 60, height)[:, None]
    left = 2 * index % (width - 12)
    pixels[8:20, left : left + 12] = (230, 30, 30)
    return pixels


def make_clip(path: Path, clip: Clip) -> Path:
    with av.open(
        f"file:{path}", "w", options=dict(clip.options), metadata_errors="surrogateescape"
    ) as output:
        codec = "libx265" if clip.ten_bits else "libx264"
        settings = {"crf": "8", "x265-params": "log-level=error"} if clip.ten_bits else {"crf": "8"}
        video: Any = output.add_stream(codec, rate=25, options=settings)
        video.width, video.height = clip.size
        video.pix_fmt = "yuv420p10le" if clip.ten_bits else "yuv420p"
        context = video.codec_context
        context.time_base = UNIT
        matrix, color_range, transfer, primaries = clip.tags
        context.colorspace, context.color_range = matrix, color_range
        context.color_trc, context.color_primaries = transfer, primaries
        context.sample_aspect_ratio = clip.aspect
        if clip.rotation:
            video.set_display_rotation(clip.rotation)
        audio: Any = output.add_stream("aac", rate=44100) if clip.audio else None
        words: Any = output.add_mux_stream("subrip") if clip.subtitles else None
        output.metadata["title"] = clip.title
        if path.suffix != ".avi":
            chapter = {"id": 1, "start": 0, "end": 400, "metadata": {"title": "one"}}
            output.set_chapters([{**chapter, "time_base": Fraction(1, 1000)}])  # type: ignore[typeddict-item]
        time = 0
        for index in range(clip.frames):
            which = clip.shown[index] if clip.shown else index
            pixels = picture(0 if clip.still else which, clip.size)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(
                format=video.pix_fmt,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=color_range,
            )
            frame.pts, frame.time_base = time, UNIT
            time += clip.steps[index % len(clip.steps)]
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            _add_tone(output, audio, time * UNIT)
        if words is not None:
            for start in (0, 300):
                packet = Packet(f"at {start}".encode())
                packet.stream, packet.time_base = words, Fraction(1, 1000)
                packet.pts = packet.dts = start
                packet.duration = 200
                output.mux(packet)
    return path


def _add_tone(output: Any, audio: Any, seconds: Fraction) -> None:
    samples = np.sin(np.arange(int(44100 * seconds)) / 20).astype(np.float32)
    for start in range(0, len(samples) - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + 1024], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        output.mux(audio.encode(frame))
    output.mux(audio.encode(None))


@dataclass(frozen=True)
class Seen:
    """What a file holds. times in seconds; packets of copied streams: (time, bytes)."""

    times: list[Fraction]
    pictures: list[NDArray[Any]]
    pixels: str
    rotation: int
    tags: tuple[int, int, int, int]
    copied: dict[str, list[tuple[Fraction, bytes]]]
    chapters: list[str]
    title: str | None


def look(path: Path) -> Seen:
    with av.open(f"file:{path}", metadata_errors="surrogateescape") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        rgb = "rgb48le" if "10" in first.format.name else "rgb24"
        pictures = [
            frame.reformat(
                format=rgb,
                src_colorspace=frame.colorspace if frame.colorspace in (1, 5, 9) else None,
                src_color_range=frame.color_range or None,
                dst_color_range=2,
            ).to_ndarray()
            for frame in frames
        ]
        container.seek(0)
        copied: dict[str, list[tuple[Fraction, bytes]]] = {}
        for packet in container.demux():
            if packet.size and packet.stream.type in ("audio", "subtitle"):
                time = Fraction(packet.pts or 0) * Fraction(packet.time_base)
                copied.setdefault(packet.stream.type, []).append((time, bytes(packet)))
        return Seen(
            [Fraction(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in frames],
            pictures,
            first.format.name,
            first.rotation,
            (first.colorspace, first.color_range, first.color_trc, first.color_primaries),
            copied,
            [chapter["metadata"].get("title", "") for chapter in container.chapters()],
            container.metadata.get("title") or container.metadata.get("TITLE"),
        )


def psnr(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    white = float(np.iinfo(one.dtype).max)  # type: ignore[arg-type]
    error = np.mean(np.square((one.astype(float) - other.astype(float)) / white))
    return float(-10 * np.log10(max(error, 1e-12)))


def enlarged(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """What the test network makes: a blur, then twice each pixel."""
    blurred = cv2.GaussianBlur(np.asarray(pixels), (3, 3), 0.85)
    return np.asarray(blurred.repeat(2, 0).repeat(2, 1))


def join_clips(path: Path, clips: Sequence[Clip]) -> Path:
    """One file of several transport streams, whose clocks start again."""
    path.write_bytes(
        b"".join(
            make_clip(path.with_name(f"part{index}.ts"), clip).read_bytes()
            for index, clip in enumerate(clips)
        )
    )
    return path


def make_vp8(path: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """Key frames of 64 x 48 in Matroska; each says that it has the size given for it."""
    encoder: Any = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 25), 1
    packets = []
    for index in range(len(sizes)):
        frame = av.VideoFrame.from_ndarray(picture(index, (64, 48)), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_mux_stream("vp8", rate=25, width=64, height=48)
        for made, size in zip(packets, sizes, strict=True):
            data = bytearray(bytes(made))
            data[6:10] = struct.pack("<HH", *size)  # after the start code of a key frame
            packet = Packet(bytes(data))
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = made.pts
            packet.is_keyframe = True
            output.mux(packet)
    return path

"""Put the restored video and everything else of its source into one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from restora.errors import OutputError
from restora.video.encoder import EncoderOptions, add_video, require_container
from restora.video.segments import NO_TIME, Encoded
from restora.video.source import VideoFacts, open_video

_COPIED = ("audio", "subtitle")
_CHAPTERS = "bin_data"  # how MP4 holds them


def join_streams(
    source: Path,
    target: Path,
    packets: Iterator[Encoded],
    *,
    facts: VideoFacts,
    encoder: EncoderOptions,
    size: tuple[int, int],
    pixels: str,
) -> tuple[str, ...]:
    """Write `target`; audio and subtitles are copied as they are, packet by packet.

    Returns what the format cannot hold, for people. Raises OutputError if it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    left_out: list[str] = []
    try:
        with (
            open_video(source) as container,
            av.open(str(part), "w", format=require_container(target)) as output,
        ):
            video = add_video(output, facts, encoder, size=size, pixels=pixels)
            copies = _add_copies(container, output, left_out)
            output.metadata.update(container.metadata)
            video.metadata.update(container.streams.video[0].metadata)
            output.set_chapters(container.chapters())
            output.start_encoding()
            restored = _video_packets(packets, video, facts)
            others = _other_packets(container, copies)
            for packet in _by_time(restored, others):
                output.mux(packet)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
    except (av.FFmpegError, OSError) as error:
        raise OutputError(f"{target} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return tuple(left_out)


def _add_copies(
    container: InputContainer, output: OutputContainer, left_out: list[str]
) -> dict[int, Stream]:
    copies: dict[int, Stream] = {}
    first = container.streams.video[0]
    for stream in container.streams:
        if stream is first:
            continue
        name = f"stream {stream.index} ({stream.type}, {getattr(stream, 'name', None)})"
        if stream.type == "data" and stream.name == _CHAPTERS and container.chapters():
            continue  # chapters are kept as such
        if stream.type not in _COPIED:
            left_out.append(f"{name}: not audio or subtitles")
            continue
        if stream.name not in output.supported_codecs:
            left_out.append(f"{name}: not allowed in {output.format.name}")
            continue
        copy = output.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _video_packets(
    packets: Iterator[Encoded], video: Any, facts: VideoFacts
) -> Iterator[Packet[Any]]:
    for encoded in packets:
        packet = Packet(encoded.data)
        packet.stream = video
        packet.time_base = facts.time_base
        packet.pts, packet.dts = encoded.pts, encoded.dts
        packet.duration = encoded.duration
        packet.is_keyframe = encoded.key
        yield packet


def _other_packets(container: InputContainer, copies: dict[int, Stream]) -> Iterator[Packet[Any]]:
    if not copies:
        return
    wanted = [container.streams[index] for index in copies]
    for packet in container.demux(wanted):
        if packet.dts is None:
            continue  # the empty packet that ends a stream
        packet.stream = copies[packet.stream.index]
        yield packet


def _by_time(*streams: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Merged, so that players find sound beside its picture."""
    heads = [(next(stream, None), stream) for stream in streams]
    while True:
        waiting = [(_time_of(packet), index) for index, (packet, _) in enumerate(heads) if packet]
        if not waiting:
            return
        _, index = min(waiting)
        packet, stream = heads[index]
        assert packet is not None
        yield packet
        heads[index] = (next(stream, None), stream)


def _time_of(packet: Packet[Any]) -> Fraction:
    time = packet.dts if packet.dts not in (None, NO_TIME) else packet.pts
    return Fraction(time or 0) * Fraction(packet.time_base)

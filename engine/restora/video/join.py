"""Write the restored video and the other streams of its source into one file."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from restora.errors import RestoraError, VideoError
from restora.video.decode import MAX_GAP_S
from restora.video.encoder import Encoder, add_video, require_container
from restora.video.segment_file import Encoded
from restora.video.sink import Sink
from restora.video.source import VideoFacts, open_video, reason_of
from restora.video.target import whole_file, write_error
from restora.video.timeline import Timeline

logger = logging.getLogger(__name__)

_COPIED = ("audio", "subtitle")
_STRICT = ("mp4", "mov")
_CHAPTERS = "bin_data"  # the codec of chapters in MP4
_BUFFER_BYTES = 1 << 20


@dataclass(slots=True)
class JoinResult:
    """left_out: descriptions of streams that the format cannot hold
    faults: descriptions of streams that could not be copied to their end
    """

    left_out: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Joiner:
    """One source, and the video stream that replaces its own.

    size: (width, height) of the result
    pixels: FFmpeg's name of its pixel format
    """

    source: Path
    target: Path
    facts: VideoFacts
    encoder: Encoder
    size: tuple[int, int]
    pixels: str

    def check(self) -> None:
        """Write the header of the file to memory, to find streams that cannot be joined before any
        frame is restored.

        Raises VideoError if not even the video and its tags can be written; logs a warning if the
        other streams cannot.
        """
        with open_video(self.source) as container:
            try:
                self._write_head(container, copying=True)
            except Exception as error:  # noqa: BLE001  # of FFmpeg, and of PyAV on odd values
                problem = reason_of(error)
            else:
                return
            try:
                self._write_head(container, copying=False)
            except Exception as error:  # of FFmpeg, and of PyAV on odd values
                raise VideoError(
                    f"{self.source} and its tags cannot be written to a {self.target.suffix} file "
                    f"({reason_of(error)}): choose another suffix of the output"
                ) from error
        logger.warning("audio and subtitles of %s cannot be copied: %s", self.source, problem)

    def join(self, packets: Callable[[], Iterator[Encoded]]) -> JoinResult:
        """Write `target`; audio and subtitles are copied as they are, packet by packet.

        packets: called for each attempt: if the format refuses the other streams, the video is
            written without them, and the result says so

        Raises VideoError if the source can no longer be opened, DiskFullError or OutputError if
        the result cannot be written. There is no partial result.
        """
        try:
            return self._join(packets(), copying=True)
        except _UnwritableError as error:
            problem = reason_of(error.cause)
            logger.warning("audio and subtitles of %s cannot be copied: %s", self.source, problem)
        try:
            result = self._join(packets(), copying=False)
        except _UnwritableError as error:
            raise write_error(self.target, error.cause) from error.cause
        result.faults.append(f"audio and subtitles cannot be copied: {problem}")
        return result

    def _join(self, packets: Iterator[Encoded], *, copying: bool) -> JoinResult:
        result = JoinResult()
        with open_video(self.source) as container, whole_file(self.target) as stream:
            sink = Sink(stream)
            try:
                self._write(container, packets, sink, result, copying=copying)
            except RestoraError:
                raise
            except Exception as error:  # of FFmpeg, and of PyAV on odd values
                sink.check(self.target)
                raise _UnwritableError(error) from error
            sink.check(self.target)
        return result

    def _write(
        self,
        container: InputContainer,
        packets: Iterator[Encoded],
        sink: Sink,
        result: JoinResult,
        *,
        copying: bool,
    ) -> None:
        with self._open_output(sink) as output:
            video, copies = self._begin(container, output, result, copying=copying)
            restored = _video_packets(packets, video, self.facts)
            strict = output.format.name in _STRICT
            others = _other_packets(container, copies, result.faults, strict=strict)
            refused: set[int] = set()
            for packet in _by_time(restored, others):
                stream = packet.stream
                if stream.index in refused:
                    continue
                try:
                    output.mux(packet)
                except Exception as error:
                    sink.check(self.target)
                    if stream is video:
                        raise
                    refused.add(stream.index)
                    result.faults.append(f"the {stream.type} ends early: {reason_of(error)}")
                sink.check(self.target)

    def _write_head(self, container: InputContainer, *, copying: bool) -> None:
        with self._open_output(io.BytesIO()) as output:
            self._begin(container, output, JoinResult(), copying=copying)

    def _open_output(self, stream: object) -> OutputContainer:
        return av.open(
            stream,
            "w",
            format=require_container(self.target),
            metadata_errors="surrogateescape",
            buffer_size=_BUFFER_BYTES,
        )

    def _begin(
        self,
        container: InputContainer,
        output: OutputContainer,
        result: JoinResult,
        *,
        copying: bool,
    ) -> tuple[Stream, dict[int, Stream]]:
        video = add_video(output, self.facts, self.encoder, size=self.size, pixels=self.pixels)
        copies = _add_copies(container, output, result.left_out) if copying else {}
        output.metadata.update(container.metadata)
        video.metadata.update(container.streams.video[0].metadata)
        output.set_chapters(container.chapters())
        output.start_encoding()
        return video, copies


class _UnwritableError(Exception):
    """The format refused a stream or a packet."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _add_copies(
    container: InputContainer, output: OutputContainer, left_out: list[str]
) -> dict[int, Stream]:
    copies: dict[int, Stream] = {}
    first = container.streams.video[0]
    for stream in container.streams:
        if stream is first:
            continue
        codec = getattr(stream, "name", None)  # missing if FFmpeg does not know the codec
        name = f"stream {stream.index} ({stream.type}, {codec})"
        if stream.type == "data" and codec == _CHAPTERS and container.chapters():
            continue  # chapters are copied as chapters
        if stream.type not in _COPIED:
            left_out.append(f"{name}: not audio or subtitles")
            continue
        if codec not in output.supported_codecs:
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


def _other_packets(
    container: InputContainer, copies: dict[int, Stream], faults: list[str], *, strict: bool
) -> Iterator[Packet[Any]]:
    """Yield the packets of copied streams; decoding times of a stream never decrease.

    strict: no two audio packets may have the same time
    """
    if not copies:
        return
    last: dict[int, int] = {}
    lost: set[int] = set()
    packets = Timeline(container).demux([container.streams[index] for index in copies])
    while True:
        try:
            packet = next(packets, None)
        except Exception as error:  # noqa: BLE001  # of FFmpeg, and of PyAV on odd values
            faults.append(f"audio and subtitles cannot be read to their end: {reason_of(error)}")
            return
        if packet is None:
            return
        if not packet.size and packet.dts is None and packet.pts is None:
            continue  # the empty packet that ends a stream
        index = packet.stream.index
        least = last.get(index)
        if least is not None and strict and packet.stream.type == "audio":
            least += 1
        time = packet.dts if packet.dts is not None else packet.pts
        if least is not None and time is not None and time - least > MAX_GAP_S / packet.time_base:
            if index not in lost:
                faults.append(f"the {packet.stream.type} has packets whose time is damaged")
            lost.add(index)
            time = None
        if time is None or (least is not None and time < least):
            time = least or 0
            packet.pts = None
        packet.dts, packet.pts = time, max(time, time if packet.pts is None else packet.pts)
        last[index] = time
        packet.stream = copies[index]
        yield packet


def _by_time(*streams: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Merge streams by time, so that players find audio beside its picture."""
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
    time = packet.dts if packet.dts is not None else packet.pts
    return Fraction(time or 0) * Fraction(packet.time_base)

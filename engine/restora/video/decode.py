"""Decode all frames of a video in order of time, and skip damaged packets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from restora.errors import VideoError
from restora.video.source import path_of, reason_of
from restora.video.timeline import Timeline

logger = logging.getLogger(__name__)

MAX_GAP_S = 86_400  # between two packets of a stream
_MAX_TICKS = 2**31 - 1  # duration of a frame; MP4 counts in 32 bits
_MAX_DELAYED = 256  # packets whose frames a decoder still holds


@dataclass(slots=True, eq=False)
class Decoded:
    """aspect: of one pixel, width / height; None if the video does not state it"""

    frame: VideoFrame
    aspect: Fraction | None


class FrameReader:
    """Iterates over the frames of the first video stream. A frame without a time gets the next
    tick.

    A packet that cannot be decoded is skipped. The frames end where the file cannot be read any
    further.

    damaged: packets that could not be decoded
    lost_times: frames with an implausible time, which get the next tick
    empty: packets without data, each of which prolongs the frame before it
    problem: why the file could not be read to its end; None if it could
    """

    def __init__(self, container: InputContainer) -> None:
        self.damaged = 0
        self.lost_times = 0
        self.empty = 0
        self.problem: str | None = None
        self._container = container
        self._name = path_of(container)

    def __iter__(self) -> Iterator[Decoded]:
        """Raises VideoError if there is no frame at all."""
        last: int | None = None
        unit = self._container.streams.video[0].time_base
        longest = min(_MAX_TICKS, int(MAX_GAP_S / unit)) if unit else _MAX_TICKS
        for decoded in self._decode():
            frame = decoded.frame
            if last is not None and frame.pts is not None and frame.pts - last > longest:
                self.lost_times += 1
                frame.pts = None
            if frame.pts is None or (last is not None and frame.pts <= last):
                frame.pts = 0 if last is None else last + 1
            last = frame.pts
            yield decoded
        if last is None:
            words = f": {self.problem}" if self.problem else ""
            raise VideoError(f"{self._name} holds no frame that can be decoded{words}")

    @property
    def faults(self) -> tuple[str, ...]:
        """Descriptions of all damage."""
        found = []
        if self.damaged:
            found.append(f"packets of the video that cannot be decoded: {self.damaged}")
        if self.lost_times:
            found.append(f"frames whose time is damaged: {self.lost_times}")
        if self.problem is not None:
            found.append(f"the video cannot be read to its end: {self.problem}")
        return tuple(found)

    def _decode(self) -> Iterator[Decoded]:
        stream = self._container.streams.video[0]
        context = stream.codec_context
        shapes: dict[int | None, Fraction | None] = {}
        for packet in self._packets():
            try:
                frames = context.decode(packet)
            except Exception as error:  # noqa: BLE001  # of FFmpeg, and of PyAV on odd values
                if not self.damaged:
                    logger.warning("%s is damaged: %s", self._name, reason_of(error))
                self.damaged += 1
                continue
            # a decoder returns a frame some packets later, when it may have read another shape
            if len(shapes) >= _MAX_DELAYED:
                shapes.clear()
            shapes[packet.pts] = context.sample_aspect_ratio
            for frame in frames:
                yield Decoded(frame, shapes.pop(frame.pts, context.sample_aspect_ratio))

    def _packets(self) -> Iterator[Packet[Any]]:
        stream = self._container.streams.video[0]
        timeline = Timeline(self._container)
        packets = timeline.demux([stream])
        while True:
            try:
                packet = next(packets, None)
            except Exception as error:  # noqa: BLE001  # as above
                self.problem = reason_of(error)
                logger.warning("%s is damaged from here on: %s", self._name, self.problem)
                packet = None
            if packet is None:
                break
            if packet.size:
                yield packet
            elif packet.dts is not None or packet.pts is not None:
                self.empty += 1  # given to the decoder, it would end the decoding
        end: Packet[Any] = Packet()
        if stream.time_base is not None:
            end.time_base = stream.time_base
        yield end

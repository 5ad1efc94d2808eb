"""Continuous timestamps for a recording whose clock restarts, such as joined transport streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

# formats that may be cut and joined byte by byte (FFmpeg's AVFMT_TS_DISCONT)
_JOINABLE = {"mpegts", "mpeg"}
_BACK_S = Fraction(1, 10)  # jitter is smaller, a restart is larger; as in FFmpeg's own tool
_OVERLAP_S = 1  # a packet from before a restart may be read this much after it
_TIMED = ("video", "audio")


class Timeline:
    """Reads the packets of a container with continuous timestamps.

    Where the decoding times of a video or audio stream go back, a new part begins: its times are
    shifted so that it begins where the previous part ended. All streams share the shift, each from
    the packet where its own times go back. Two passes over one file give the same times.

    Formats whose files cannot be concatenated are not changed.
    """

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._joinable = container.format.name in _JOINABLE
        self._moves = [Fraction(0)]  # seconds, of each part
        self._parts: dict[int, int] = {}  # that each stream is in
        self._last: dict[int, Fraction] = {}  # moved decoding time of each stream, seconds
        self._end = Fraction(0)  # of all that was read, seconds

    def demux(self, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
        """Yield the packets of these streams in file order."""
        if not self._joinable:
            yield from self._container.demux(list(streams))
            return
        wanted = {stream.index for stream in streams}
        for packet in self._container.demux():
            self._move(packet)
            if packet.stream.index in wanted:
                yield packet

    def _move(self, packet: Packet[Any]) -> None:
        unit = Fraction(packet.time_base)
        if packet.dts is not None and packet.stream.type in _TIMED:
            begin = packet.dts * unit
            part = self._part_of(packet.stream.index, begin)
            moved = begin + self._moves[part]
            index = packet.stream.index
            # many packets state no duration: use the distance to the previous packet
            lasts = (packet.duration or 0) * unit or moved - self._last.get(index, moved)
            self._parts[index], self._last[index] = part, moved
            self._end = max(self._end, moved + max(lasts, Fraction(0)))
        else:
            part = self._parts.get(packet.stream.index, len(self._moves) - 1)
        ticks = round(self._moves[part] / unit)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks

    def _part_of(self, index: int, begin: Fraction) -> int:
        part = self._parts.get(index, len(self._moves) - 1)
        last = self._last.get(index)
        if last is None or begin + self._moves[part] >= last - _BACK_S:
            return part
        for later in range(part + 1, len(self._moves)):
            if begin + self._moves[later] >= last - _OVERLAP_S:
                return later
        self._moves.append(self._end - begin)
        return len(self._moves) - 1

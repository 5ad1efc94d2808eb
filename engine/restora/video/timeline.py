"""One clock for a recording whose own starts again, as where transport streams are joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

# formats that may be cut and joined byte by byte (FFmpeg's AVFMT_TS_DISCONT)
_JOINABLE = {"mpegts", "mpeg"}
_BACK_S = Fraction(1, 10)  # by which FFmpeg's own tool tells a restart from jitter
_OVERLAP_S = 1  # of a stream's last packet before a restart, which may be read after it
_TIMED = ("video", "audio")


class Timeline:
    """Packets of a container with times that do not start again.

    Where the decoding times of a picture or sound stream go back, a new part begins: its times are
    moved so that it begins where the part before ended. All streams share the move, each from the
    packet on where its own times go back. Two passes over one file give the same times.

    Formats that cannot be joined so are left as they are.
    """

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._joinable = container.format.name in _JOINABLE
        self._moves = [Fraction(0)]  # seconds, of each part
        self._parts: dict[int, int] = {}  # that each stream is in
        self._last: dict[int, Fraction] = {}  # moved decoding time of each stream, seconds
        self._end = Fraction(0)  # of all that was read, seconds

    def demux(self, streams: Sequence[Stream]) -> Iterator[Packet[Any]]:
        """The streams' packets in order of the file."""
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
            # many packets do not say how long they last: as long as the one before
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

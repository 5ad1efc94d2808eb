"""Facts about encoded frames: their times suit every container, whatever the encoder says."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

av = pytest.importorskip("av")

from restora.video import encoder as encoder_module  # noqa: E402
from restora.video.encoder import Encoder, decoding_times, encode_frames  # noqa: E402
from restora.video.source import VideoFacts  # noqa: E402

UNIT = Fraction(1, 25)
FACTS = VideoFacts(64, 48, 8, "yuv420p", 2, 1 / UNIT, UNIT, 0, 1, 1, 1, 1, None, 0.08)


@dataclass
class PacketWithWrongTimes:
    """As libx265 makes of fewer frames than it delays: it reads memory that it never wrote."""

    pts: int
    dts: int
    time_base: Fraction = UNIT
    duration: int = 1
    is_keyframe: bool = True

    def __bytes__(self) -> bytes:
        return b"packet"


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_decoding_times_increase_and_precede_what_is_shown(
    times: list[int], ahead: int, random: Any
) -> None:
    shown, waiting = [], sorted(times)
    while waiting:
        shown.append(waiting.pop(random.randint(0, min(ahead, len(waiting) - 1))))
    found = decoding_times(shown)
    assert len(found) == len(shown)
    assert all(before < after for before, after in pairwise(found))
    assert all(dts <= pts for dts, pts in zip(found, shown, strict=True))


def test_frames_in_order_are_decoded_when_they_are_shown() -> None:
    assert decoding_times([3, 4, 7]) == [3, 4, 7]


def test_reordered_frames_are_decoded_as_late_as_their_order_allows() -> None:
    assert decoding_times([0, 2, 1, 5, 4, 3]) == [-2, -1, 0, 1, 2, 3]


def test_wrong_decoding_times_of_an_encoder_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packets = {0: PacketWithWrongTimes(0, -(10**15)), 1: PacketWithWrongTimes(1, 10**15)}

    def encode(_stream: Any, frame: Any) -> list[Any]:
        return [] if frame is None else [packets[frame.pts]]

    monkeypatch.setattr(encoder_module, "_encode", encode)
    frames = []
    for time in packets:
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        frame.pts = time
        frames.append(frame)
    found = encode_frames(
        frames, FACTS, Encoder("libx265", 18, None), size=(64, 48), pixels="yuv420p",
        container="mp4",
    )  # fmt: skip
    assert [(packet.pts, packet.dts) for packet in found] == [(0, 0), (1, 1)]

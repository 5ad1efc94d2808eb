"""Facts about videos that change on their way: size, shape, rotation, depth, colors and clock."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from restora import Restorer
from restora.errors import VideoError

av = pytest.importorskip("av")

from av.bitstream import BitStreamFilterContext  # noqa: E402

from restora.video.fit import fit_pixels  # noqa: E402
from restora.video.options import VideoOptions  # noqa: E402
from restora.video.restore import restore_video  # noqa: E402
from video_clips import (  # noqa: E402
    BT709,
    BT2020_PQ,
    Clip,
    Seen,
    enlarged,
    join_clips,
    look,
    make_clip,
    picture,
    psnr,
)

SMALL = Clip(frames=6, audio=False)
FRAME_S = Fraction(1, 25)
INNER = (slice(6, -6), slice(6, -6))  # the network darkens the border


def restored(restorer: Restorer, source: Path, *, fitted: int) -> Seen:
    target = source.with_suffix(".mp4")
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=5))
    assert result is not None
    assert result.complete
    assert result.fitted == fitted
    seen = look(target)
    assert len(seen.times) == result.frames
    return seen


def scaled(index: int, size: tuple[int, int], to: tuple[int, int]) -> NDArray[Any]:
    """Picture `index` of one size as a frame of another, enlarged by the network."""
    return enlarged(cv2.resize(picture(index, size), to, interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("later", [(128, 96), (32, 24), (96, 72), (66, 50)])
def test_frames_of_another_size_are_scaled_to_the_first_and_none_is_cropped(
    later: tuple[int, int], restorer: Restorer, tmp_path: Path
) -> None:
    source = join_clips(tmp_path / "in.ts", [SMALL, Clip(frames=6, size=later, audio=False), SMALL])
    seen = restored(restorer, source, fitted=6)
    assert {shape.shape for shape in seen.pictures} == {(96, 128, 3)}
    steps = {after - before for before, after in zip(seen.times, seen.times[1:], strict=False)}
    assert steps == {FRAME_S}
    for index in range(6):
        for part, size in ((0, (64, 48)), (6, later), (12, (64, 48))):
            expected = scaled(index, size, (64, 48))[INNER]
            assert psnr(expected, seen.pictures[part + index][INNER]) > 25


def test_a_frame_of_another_shape_keeps_it_between_black_bars(
    restorer: Restorer, tmp_path: Path
) -> None:
    tall = Clip(frames=4, size=(48, 96), audio=False)
    seen = restored(restorer, join_clips(tmp_path / "in.ts", [SMALL, tall]), fitted=4)
    last = seen.pictures[-1]
    assert last.shape == (96, 128, 3)
    assert last[:, :36].max() < 20
    assert last[:, -36:].max() < 20
    middle = slice(44, 84)
    expected = enlarged(fit_pixels(picture(3, (48, 96)), (64, 48)))
    assert psnr(expected[6:-6, middle], last[6:-6, middle]) > 25


def test_frames_whose_pixels_change_their_shape_keep_it_from_the_first_one_on(
    restorer: Restorer, tmp_path: Path
) -> None:
    wide = Clip(frames=6, audio=False, aspect=Fraction(4, 3))
    narrow = Clip(frames=6, audio=False, aspect=Fraction(1))
    source = join_clips(tmp_path / "in.ts", [wide, narrow, wide])
    seen = restored(restorer, source, fitted=6)
    for index, found in enumerate(seen.pictures):
        bars = max(found[:, :12].max(), found[:, -12:].max()) < 20
        assert bars == (6 <= index < 12)
        whole = picture(index % 6, (64, 48))
        expected = enlarged(fit_pixels(whole, (64, 48), shape=0.75) if bars else whole)
        assert psnr(expected[6:-6, 20:-20], found[6:-6, 20:-20]) > 25


def test_frames_that_begin_to_be_turned_are_turned_to_the_first(
    restorer: Restorer, tmp_path: Path
) -> None:
    clip = Clip(frames=4, size=(64, 64), audio=False)
    upright = make_clip(tmp_path / "upright.ts", clip)
    turned = tmp_path / "turned.ts"
    with av.open(str(upright)) as container, av.open(str(turned), "w") as output:
        stream = container.streams.video[0]
        copy = output.add_stream_from_template(stream)
        turn = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", stream)
        for packet in container.demux(stream):
            for made in turn.filter(packet if packet.size else None):
                made.stream = copy
                output.mux(made)
    assert look(turned).rotation == 90
    both = tmp_path / "in.ts"
    both.write_bytes(upright.read_bytes() + turned.read_bytes())
    seen = restored(restorer, both, fitted=4)
    assert seen.rotation == 0
    # a player turns it counter-clockwise
    expected = enlarged(np.rot90(picture(3, (64, 64))))
    assert psnr(expected[INNER], seen.pictures[-1][INNER]) > 25
    assert psnr(enlarged(picture(3, (64, 64)))[INNER], seen.pictures[3][INNER]) > 25


@pytest.mark.parametrize("tags", [BT709, (1, 2, 1, 1), (5, 1, 6, 6)])
def test_a_change_of_range_or_matrix_changes_no_color(
    tags: tuple[int, int, int, int], restorer: Restorer, tmp_path: Path
) -> None:
    other = Clip(frames=6, audio=False, tags=tags)
    seen = restored(restorer, join_clips(tmp_path / "in.ts", [SMALL, other]), fitted=0)
    for index in (5, 11):
        expected = enlarged(picture(5, (64, 48)))[INNER]
        found = seen.pictures[index][INNER]
        assert abs(float(expected.mean() - found.mean())) < 1.5
        assert psnr(expected, found) > 32


@pytest.mark.parametrize("ten_first", [False, True])
def test_a_change_between_8_and_10_bits_changes_no_color(
    ten_first: bool, restorer: Restorer, tmp_path: Path
) -> None:
    data = []
    for index, pixels in enumerate(["yuv420p10le", "yuv420p"][:: 1 if ten_first else -1]):
        path = tmp_path / f"part{index}.ts"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", rate=25, options={"crf": "4"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            for number in range(4):
                frame = av.VideoFrame.from_ndarray(picture(number, (64, 48)), format="rgb24")
                output.mux(stream.encode(frame.reformat(format=pixels, dst_colorspace=5)))
            output.mux(stream.encode(None))
        data.append(path.read_bytes())
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(data))
    seen = restored(restorer, source, fitted=0)
    assert seen.pixels == ("yuv420p10le" if ten_first else "yuv420p")
    for index in (3, 7):
        found = seen.pictures[index].astype(float) / (257 if ten_first else 1)
        assert psnr(enlarged(picture(3, (64, 48)))[INNER], found[INNER].round().astype("u1")) > 30


def test_a_change_from_sdr_to_hdr_is_refused(restorer: Restorer, tmp_path: Path) -> None:
    hdr = Clip(frames=4, audio=False, tags=(1, 1, BT2020_PQ[2], 1))
    source = join_clips(tmp_path / "in.ts", [SMALL, hdr])
    with pytest.raises(VideoError, match=r"from SDR to HDR \(PQ\).*split it there"):
        restore_video(source, tmp_path / "out.mp4", restorer)
    assert not (tmp_path / "out.mp4").exists()


def test_picture_and_sound_of_joined_streams_share_one_clock_that_never_goes_back(
    restorer: Restorer, tmp_path: Path
) -> None:
    clip = Clip(frames=50)
    source = join_clips(tmp_path / "in.ts", [clip, clip, clip])
    seen = restored(restorer, source, fitted=0)
    single = look(tmp_path / "part0.ts")
    sound = [time for time, _ in seen.copied["audio"]]
    assert len(seen.times) == 150
    assert len(sound) == 3 * len(single.copied["audio"])
    assert sound == sorted(sound)
    assert seen.times == sorted(seen.times)
    whole = seen.times[-1] - seen.times[0]
    assert abs(whole - 149 * FRAME_S) < Fraction(1, 4)
    # in each part the sound begins as long after its picture as in the clip itself
    apart = single.copied["audio"][0][0] - single.times[0]
    for part in range(3):
        begin = seen.times[50 * part]
        first = sound[len(single.copied["audio"]) * part]
        assert abs(first - begin - apart) < Fraction(1, 10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (64, 48)])
def test_any_frame_fits_any_size(size: tuple[int, int], dtype: Any) -> None:
    for given, shape in (((48, 64), 1.0), ((3, 900), 1e-4), ((900, 3), 1e4), ((1, 1), 1.0)):
        fitted = fit_pixels(np.full((*given, 3), 200, dtype), size, shape=shape)
        assert fitted.shape == (size[1], size[0], 3)
        assert fitted.dtype == dtype
        assert fitted.max() == 200

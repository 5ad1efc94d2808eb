"""A video file is opened and its first frames decoded, or it is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import av

from fuzz.mutate import MAX_BYTES, mutate_bytes
from fuzz.segments import mutate_boxes, mutate_chunks
from fuzz.target import Input, Target
from restora.video.decode import FrameReader
from restora.video.frames import FrameConverter, result_pixels
from restora.video.source import open_video, read_facts, require_size
from video_clips import BT2020_PQ, Clip, make_clip, picture

_SIZE = (32, 32)
_FRAMES = 5
_MAX_PIXELS = 1 << 20
_FORMATS = {"avi": "mpeg4", "mpg": "mpeg2video", "ts": "mpeg2video", "flv": "flv", "webm": "libvpx",
            "ogv": "libtheora", "nut": "ffv1", "mov": "mjpeg"}  # fmt: skip


def make_seeds() -> dict[str, Input]:
    """Containers and codecs; each of a few frames."""
    found: dict[str, Input] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = {"frames": _FRAMES, "size": _SIZE}
        clips = {
            "h264.mp4": Clip(**small, rotation=90),  # type: ignore[arg-type]
            "h264.mkv": Clip(**small, subtitles=True),  # type: ignore[arg-type]
            "hevc.mp4": Clip(**small, ten_bits=True, tags=BT2020_PQ, audio=False),  # type: ignore[arg-type]
            "fragments.mp4": Clip(
                **small,  # type: ignore[arg-type]
                audio=False,
                options=(("movflags", "frag_keyframe+empty_moov"),),
            ),
        }
        for title, clip in clips.items():
            path = make_clip(folder / title, clip)
            found[title.replace(".", "-")] = Input(path.suffix, path.read_bytes())
        for ending, codec in _FORMATS.items():
            data = _encode(folder / f"plain.{ending}", codec)
            if data is not None:
                found[f"{codec}-{ending}"] = Input(f".{ending}", data)
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    found["playlist"] = Input(".m3u8", playlist)
    found["concat"] = Input(".ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n")
    return found


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    data = one.data
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            if rng.random() < 0.6 and data[4:8] == b"ftyp":
                data = mutate_boxes(data, rng)
                continue
            if rng.random() < 0.5 and data.startswith(b"RIFF"):
                data = mutate_chunks(data, rng)
                continue
        except (ValueError, IndexError):
            pass
        data = mutate_bytes(data, rng, [rng.choice(others).data])
    return Input(one.ending, data[:MAX_BYTES])


def check(path: Path) -> str:
    """As a run does: facts first, then the frames, of a file that is opened again."""
    with open_video(path, max_pixels=_MAX_PIXELS) as container:
        width, height = require_size(container)
        if width * height > _MAX_PIXELS:
            return "large"  # what the memory allows is judged by the caller
        facts = read_facts(container)
    with open_video(path, max_pixels=_MAX_PIXELS) as container:
        converter = FrameConverter(facts, result_pixels(facts))
        reader = FrameReader(container)
        shapes = {converter.to_rgb(frame).shape for frame in islice(reader, _FRAMES)}
    assert shapes == {(facts.height, facts.width, 3)}, f"shapes {shapes}"
    return "decoded in part" if reader.faults else "decoded"


def _encode(path: Path, codec: str) -> bytes | None:
    """None if this FFmpeg has no such encoder."""
    try:
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = _SIZE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for index in range(_FRAMES):
                frame = av.VideoFrame.from_ndarray(picture(index, _SIZE), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    except (ValueError, av.FFmpegError):
        return None
    return path.read_bytes()


TARGET = Target(make_seeds, mutate, check, cpu_s=5.0, memory_mb=256)

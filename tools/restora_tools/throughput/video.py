"""Frames a second: `restora video` beside the published way, from file to file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from restora import Restorer
from restora.backends.cores import count_allowed_cores
from restora.options import RestoreOptions
from restora.video.options import VideoOptions
from restora.video.restore import restore_video
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.photos import PUBLISHED_PAD, PUBLISHED_TILE, Setting
from restora_benchmarks.published import upsample_published
from restora_calibration.photos import read_photo_of_size
from restora_calibration.timing import time_in_turns

Row = dict[str, Any]
_SIZE = (320, 240)
_RATE = 25
_CODEC, _CRF = "libx264", 18


def make_clip(path: Path, frames: int) -> Path:
    """A photo that moves sideways."""
    pixels = np.asarray(read_photo_of_size(*_SIZE), np.uint8)
    with av.open(str(path), "w") as output:
        stream = _add_stream(output, _SIZE)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, 3 * index, axis=1), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def measure_video(folder: Path, setting: Setting, *, frames: int, repeats: int) -> Row:
    source = make_clip(folder / "clip.mp4", frames)
    options = RestoreOptions(backend=setting.backend, precision=setting.precision)
    shares: list[dict[str, float]] = []
    with Restorer(options=options) as restorer:

        def ours() -> None:
            asked = VideoOptions(encoder=_CODEC, crf=_CRF, overwrite=True)
            result = restore_video(source, folder / "ours.mp4", restorer, options=asked)
            assert result is not None
            assert result.frames == frames
            stages = result.stages.items()
            shares.append({name: stats.busy_s / result.elapsed_s for name, stats in stages})

        ways: dict[str, Callable[[], object]] = {
            "restora video": ours,
            "published way, eager PyTorch": lambda: _restore_published(source, folder / "p.mp4"),
        }
        times = time_in_turns(ways, repeats=repeats, warm_up=0)
    last = shares[-1]
    return {
        "what": f"restora-lite-x2, {setting}",
        "frames": frames,
        "size": list(_SIZE),
        "frames_per_s": {name: round(frames / t.median, 3) for name, t in times.items()},
        "spread": {name: round(t.spread, 3) for name, t in times.items()},
        "busy": {name: round(share, 3) for name, share in last.items()},
    }


def _restore_published(source: Path, target: Path) -> None:
    """Decode, eager PyTorch, encode: one frame after another, sound left out."""
    model = find_model("restora-lite-x2", Path("build/bench"), lambda _words: None)
    network, scale = model.make_network(), model.artifact.info.scale
    torch.set_num_threads(count_allowed_cores())
    width, height = _SIZE
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = _add_stream(written, (width * scale, height * scale))
        for frame in read.decode(read.streams.video[0]):
            pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            result = upsample_published(
                network, pixels, scale=scale, tile=PUBLISHED_TILE, tile_pad=PUBLISHED_PAD
            )
            written.mux(stream.encode(av.VideoFrame.from_ndarray(result, format="rgb24")))
        written.mux(stream.encode(None))


def _add_stream(output: Any, size: tuple[int, int]) -> Any:
    stream = output.add_stream(_CODEC, rate=Fraction(_RATE), options={"crf": str(_CRF)})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream

"""Photos: session, Upsampler and whole command beside the published way; sizes; stages."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora import Photo, Restorer, read_photo, write_photo
from restora.backends import choose_session
from restora.backends.options import BackendChoice, PrecisionChoice
from restora.errors import RestoraError
from restora.options import RestoreOptions
from restora_benchmarks.bench.models import Model
from restora_benchmarks.bench.ways import WayNotHereError
from restora_benchmarks.command import Command, Usage, run_command
from restora_benchmarks.published import enlarge_published
from restora_calibration.timing import Times, time_in_turns, times_from

Row = dict[str, Any]
PUBLISHED_TILE, PUBLISHED_PAD = 256, 10
NCNN_TILE = 200  # of realesrgan-ncnn-vulkan, with the same padding
WAYS = ("session", "Upsampler", "command", "published", "ncnn")
_NAMES = {"published": "published way, eager PyTorch", "ncnn": "published way, ncnn"}
PEERS = tuple(_NAMES)
SMALL = 64  # pixels of the side of a run that warms up


@dataclass(frozen=True, slots=True)
class Setting:
    """What the command is told."""

    backend: BackendChoice
    precision: PrecisionChoice

    def __str__(self) -> str:
        return f"{self.backend} in {self.precision}"

    @property
    def words(self) -> tuple[str, ...]:
        return ("--backend", self.backend, "--precision", self.precision)


def photo_of(megapixels: float) -> NDArray[np.uint8]:
    """A 4:3 photo of about that size, sides multiples of 16."""
    from restora_calibration.photos import read_photo_of_size

    width = max(16, round((megapixels * 1e6 * 4 / 3) ** 0.5 / 16) * 16)
    height = max(16, round(width * 3 / 4 / 16) * 16)
    return np.array(read_photo_of_size(width, height))


def measure_photo(
    model: Model,
    setting: Setting,
    *,
    megapixels: float,
    threads: int,
    repeats: int,
    report: Callable[[str], None],
    ways: Sequence[str] = WAYS,
) -> list[Row]:
    """Some of WAYS: the session alone on the very tiles of the photo, the Upsampler, the whole
    command, and the published tiling in eager PyTorch and in ncnn."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_here:
        source, target = Path(name) / "photo.jpg", Path(name) / "restored.png"
        write_photo(Photo(photo_of(megapixels)), source)
        photo = read_photo(source)
        pixels = np.asarray(photo.pixels, np.uint8)
        options = RestoreOptions(
            backend=setting.backend, precision=setting.precision, threads=threads
        )
        usages: list[Usage] = []
        runs: dict[str, Callable[[], object]] = {}
        if "session" in ways:
            runs["session"] = _session(model, options, pixels, open_here)
        if "Upsampler" in ways:
            restorer = open_here.enter_context(Restorer(model.path, options=options))
            restorer.restore(pixels[:SMALL, :SMALL])  # warm
            runs["Upsampler"] = lambda: restorer.restore(photo)
        if "command" in ways:
            command = Command(source, target, model.path, threads, more=setting.words)
            runs["command"] = lambda: usages.append(run_command(command))
        makers = {"published": _published, "ncnn": _published_ncnn}
        for way in [way for way in PEERS if way in ways]:
            try:
                runs[way] = makers[way](model, pixels, target, threads)
            except (ImportError, LookupError, WayNotHereError) as error:  # noqa: PERF203
                report(f"{model.name}: {_NAMES[way]}, is skipped: {error}")
        times = time_in_turns(runs, repeats=repeats, warm_up=0)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    base = times["session"].median if "session" in times else None
    return [
        {
            **_row("photo", model, setting, way, megapixels, threads, found),
            **({"of_session": round(base / found.median, 3)} if base else {}),
            **(_peak_of(usages) if way == "command" else {}),
        }
        for way, found in times.items()
    ]


def _session(
    model: Model, options: RestoreOptions, pixels: NDArray[np.uint8], open_here: ExitStack
) -> Callable[[], None]:
    """Run the tiles of the photo, and nothing else."""
    session = choose_session(model.path, options=options.session_options()).session
    open_here.enter_context(closing(session))
    shapes = _tile_shapes(session.limits.multiple, pixels, options.tiling_for(session))
    tiles = [np.ascontiguousarray(pixels[:h, :w])[None] for h, w in shapes]
    session.run(tiles[0])  # warm

    def run() -> None:
        for tile in tiles:
            session.run(tile)

    return run


def _peak_of(usages: Sequence[Usage]) -> Row:
    return {"peak_mb": round(max(usage.peak_bytes for usage in usages) / 1e6)}


def measure_sizes(
    model: Model, setting: Setting, sizes: Sequence[float], *, threads: int
) -> list[Row]:
    """The whole command on results from small to large: time and peak memory."""
    rows = []
    scale = model.artifact.info.scale
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            source, target = Path(name) / "photo.jpg", Path(name) / "restored.png"
            write_photo(Photo(photo_of(size / scale**2)), source)
            command = Command(source, target, model.path, threads, more=setting.words)
            usage = run_command(command)
            row = _row(
                "size",
                model,
                setting,
                "command",
                size / scale**2,
                threads,
                times_from([usage.elapsed_s]),
            )
            pixels_mb = size * 3  # 8-bit RGB of the result
            row |= {
                "output_mp": size,
                "peak_mb": round(usage.peak_bytes / 1e6),
                "peak_without_result_mb": round(usage.peak_bytes / 1e6 - pixels_mb),
            }
            rows.append(row)
    return rows


def measure_stages(model: Model, setting: Setting, *, megapixels: float, threads: int) -> list[Row]:
    """Where the time of one photo goes, in one process."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "photo.jpg", Path(name) / "restored.png"
        write_photo(Photo(photo_of(megapixels)), source)
        seconds: dict[str, float] = {}

        def step(what: str, work: Callable[[], Any]) -> Any:
            started = time.perf_counter()
            result = work()
            seconds[what] = time.perf_counter() - started
            return result

        options = RestoreOptions(
            backend=setting.backend, precision=setting.precision, threads=threads
        )
        restorer = step("load model", lambda: Restorer(model.path, options=options))
        photo = step("decode", lambda: read_photo(source))
        result = step("enlarge", lambda: restorer.restore(photo))
        step("encode", lambda: write_photo(result.photo, target))
        restorer.close()
    return [
        {
            "suite": "stages",
            "model": model.name,
            "weights": model.weights,
            "way": f"restora {setting.backend}",
            "precision": setting.precision,
            "ours": True,
            "threads": threads,
            "input_mp": round(megapixels, 3),
            "stages": {what: round(value, 4) for what, value in seconds.items()},
        }
    ]


def _tile_shapes(multiple: int, pixels: NDArray[np.uint8], tiling: Any) -> list[tuple[int, int]]:
    from restora.tiling import plan_tiles

    height, width = (side // multiple * multiple for side in pixels.shape[:2])
    plan = plan_tiles(height, width, tiling, multiple=multiple, scale=1)
    return [tile.shape for tiles in plan.iter_runs() for tile in tiles]


def _published(
    model: Model, pixels: NDArray[np.uint8], target: Path, threads: int
) -> Callable[[], object]:
    """Eager PyTorch, tile by tile, decoded before and encoded as the published script does."""
    import cv2
    import torch

    from restora_benchmarks.published import upsample_published

    torch.set_num_threads(threads)
    network = model.make_network()
    scale = model.artifact.info.scale

    def restore() -> None:
        result = upsample_published(
            network, pixels, scale=scale, tile=PUBLISHED_TILE, tile_pad=PUBLISHED_PAD
        )
        cv2.imwrite(str(target), result[..., ::-1])

    return restore


def _published_ncnn(
    model: Model, pixels: NDArray[np.uint8], target: Path, threads: int
) -> Callable[[], object]:
    """ncnn with its defaults on the CPU, tile by tile as realesrgan-ncnn-vulkan does."""
    import cv2

    from restora_benchmarks.bench.peers import NcnnPeer

    peer = NcnnPeer(model, threads, full=False)
    scale = model.artifact.info.scale
    peer.run(np.ascontiguousarray(pixels[None, :SMALL, :SMALL]))  # warm, or not here

    def restore() -> None:
        result = enlarge_published(
            peer.run, pixels, scale=scale, tile=NCNN_TILE, tile_pad=PUBLISHED_PAD
        )
        cv2.imwrite(str(target), result[..., ::-1])

    return restore


def _row(
    suite: str,
    model: Model,
    setting: Setting,
    way: str,
    megapixels: float,
    threads: int,
    times: Times,
) -> Row:
    ours = way not in PEERS
    precision = {"published": "fp32", "ncnn": "default"}.get(way, setting.precision)
    return {
        "suite": suite,
        "model": model.name,
        "weights": model.weights,
        "way": f"{way}, {setting.backend}" if ours else _NAMES[way],
        "precision": "default" if precision == "auto" else precision,
        "ours": ours,
        "threads": threads,
        "input_mp": round(megapixels, 3),
        "seconds": times.as_dict(),
        "mp_per_s": round(megapixels / times.median, 4),
    }


def can_run(model: Model, setting: Setting, threads: int) -> str | None:
    """None, or why this model does not run so."""
    try:
        options = RestoreOptions(
            backend=setting.backend, precision=setting.precision, threads=threads
        )
        Restorer(model.path, options=options).close()
    except RestoraError as error:
        return str(error)
    return None

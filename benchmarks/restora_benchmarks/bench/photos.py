"""Photos: session, Upsampler and whole command beside the published way; sizes; stages."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
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
from restora_benchmarks.command import Command, run_command
from restora_calibration.timing import Times, time_in_turns, times_from

Row = dict[str, Any]
PUBLISHED_TILE, PUBLISHED_PAD = 256, 10


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
    peers: bool,
    report: Callable[[str], None],
) -> list[Row]:
    """Raw session on the very tiles of the photo, Upsampler, command, and the published way."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "photo.jpg", Path(name) / "restored.png"
        write_photo(Photo(photo_of(megapixels)), source)
        photo = read_photo(source)
        pixels = np.asarray(photo.pixels, np.uint8)
        options = RestoreOptions(
            backend=setting.backend, precision=setting.precision, threads=threads
        )
        command = Command(source, target, model.path, threads, more=setting.words)
        session = choose_session(model.path, options=options.session_options()).session
        with closing(session), Restorer(model.path, options=options) as restorer:
            shapes = _tile_shapes(session.limits.multiple, pixels, options.tiling_for(session))
            tiles = [np.ascontiguousarray(pixels[:h, :w])[None] for h, w in shapes]
            session.run(tiles[0])  # both networks are warm
            restorer.restore(tiles[0][0])

            def raw() -> None:
                for tile in tiles:
                    session.run(tile)

            ways: dict[str, Callable[[], object]] = {
                "session": raw,
                "Upsampler": lambda: restorer.restore(photo),
                "command": lambda: run_command(command),
            }
            if peers:
                try:
                    ways["published"] = _published(model, pixels, target, threads)
                except (ImportError, LookupError) as error:
                    report(f"{model.name}: upstream inference_realesrgan.py is skipped: {error}")
            times = time_in_turns(ways, repeats=repeats, warm_up=0)
        peak = run_command(command).peak_bytes
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    base = times["session"].median
    return [
        {
            **_row("photo", model, setting, way, megapixels, threads, found),
            "of_session": round(base / found.median, 3),
            **({"peak_mb": round(peak / 1e6)} if way == "command" else {}),
        }
        for way, found in times.items()
    ]


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


def _row(
    suite: str,
    model: Model,
    setting: Setting,
    way: str,
    megapixels: float,
    threads: int,
    times: Times,
) -> Row:
    ours = way != "published"
    return {
        "suite": suite,
        "model": model.name,
        "way": f"{way}, {setting.backend}" if ours else "published way, eager PyTorch",
        "precision": setting.precision if ours else "fp32",
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

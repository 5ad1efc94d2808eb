"""Speed and memory on this machine's CPU: `python -m restora_benchmarks.cpu`.

For each model, in one run with the same threads: the raw session, the Upsampler, the whole
command, and the same network in eager PyTorch FP32 tile by tile, as the published script does it.
The ways take turns; medians are compared, and accuracy stands on every line.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import nn

from restora import Photo, Restorer, read_photo, write_photo
from restora.models import find_artifact
from restora.sessions import CpuOptions, SessionOptions, open_session
from restora.sessions.cores import count_allowed_cores
from restora_benchmarks.command import Command, run_command
from restora_benchmarks.flops import count_flops
from restora_benchmarks.published import upsample_published
from restora_benchmarks.results import write_results
from restora_calibration.photos import read_photo_of_size
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.export import export_network
from restora_export.reference import RRDBNet
from restora_export.verify import psnr_from_difference

RESULTS = Path("benchmarks/results/cpu.json")
PUBLISHED_PAD = 10
TILE = 256


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure, as artefact and as PyTorch network, and the photo to measure it on."""

    name: str
    artifact: Path
    network: nn.Module
    photo: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Line:
    """One way of running one model.

    seconds_per_mp  of input, median; spread: slowest run / fastest run
    gflops          operations of the network on the bare photo per second, in 10^9
    against_raw     throughput as a share of the raw session's
    psnr            dB against PyTorch FP32 in one piece, on a 0.26 MP cut
    """

    model: str
    way: str
    input_mp: float
    seconds_per_mp: float
    spread: float
    gflops: float
    against_raw: float
    psnr: float


def measure_subject(subject: Subject, *, threads: int, repeats: int, folder: Path) -> list[Line]:
    """All ways of running one model, taking turns."""
    source = folder / f"{subject.name}.jpg"
    write_photo(Photo(subject.photo), source)
    photo = read_photo(source)
    pixels = np.asarray(photo.pixels, np.uint8)
    megapixels = photo.width * photo.height / 1e6
    session = open_session(
        subject.artifact, options=SessionOptions(backend="cpu", cpu=CpuOptions(threads=threads))
    )
    restorer = Restorer(subject.artifact)
    scale = session.info.scale
    tiles = max(1, round(megapixels * 1e6 / TILE**2))
    tile = np.ascontiguousarray(pixels[:TILE, :TILE])[None]
    flops = count_flops(subject.artifact.read_bytes(), batch=1, height=TILE, width=TILE) / TILE**2

    def raw() -> float:
        started = time.perf_counter()
        for _ in range(tiles):
            session.run(tile)
        return (time.perf_counter() - started) / (tiles * TILE**2 / 1e6)

    def upsampler() -> float:
        return restorer.restore(photo).elapsed_s / megapixels

    def command(ending: str) -> Callable[[], float]:
        target = folder / f"{subject.name}_out.{ending}"
        arguments = Command(source, target, subject.artifact, threads)
        return lambda: run_command(arguments).elapsed_s / megapixels

    def eager() -> float:
        started = time.perf_counter()
        upsample_published(subject.network, pixels, scale=scale, tile=TILE, tile_pad=PUBLISHED_PAD)
        return (time.perf_counter() - started) / megapixels

    ways: dict[str, Callable[[], float]] = {
        "raw session": raw,
        "Upsampler": upsampler,
        "command, jpg": command("jpg"),
        "command, png": command("png"),
        "eager PyTorch": eager,
    }
    session.run(tile)
    upsample_published(subject.network, pixels[:64, :64], scale=scale, tile=64, tile_pad=0)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            times[way].append(run())
    accuracy = _accuracies(subject, session.run, restorer, scale)
    median = {way: statistics.median(values) for way, values in times.items()}
    session.close()
    restorer.close()
    return [
        Line(
            model=subject.name,
            way=way,
            input_mp=round(megapixels, 3),
            seconds_per_mp=round(median[way], 4),
            spread=round(max(times[way]) / min(times[way]), 3),
            gflops=round(flops * 1e6 / median[way] / 1e9, 1),
            against_raw=round(median["raw session"] / median[way], 3),
            psnr=round(accuracy[way], 1),
        )
        for way in ways
    ]


def _accuracies(
    subject: Subject,
    run: Callable[[NDArray[np.uint8]], NDArray[np.uint8 | np.float32]],
    restorer: Restorer,
    scale: int,
) -> dict[str, float]:
    cut = np.ascontiguousarray(subject.photo[:512, :512])
    whole = upsample_published(subject.network, cut, scale=scale, tile=4096, tile_pad=0)

    def psnr(result: NDArray[np.uint8 | np.uint16 | np.float32]) -> float:
        return psnr_from_difference((result.astype(np.float64) - whole) / 255)

    tiled = psnr(restorer.restore(cut).photo.pixels)
    eager = upsample_published(subject.network, cut, scale=scale, tile=TILE, tile_pad=PUBLISHED_PAD)
    return {
        "raw session": psnr(run(cut[None])[0]),
        "Upsampler": tiled,
        "command, jpg": tiled,
        "command, png": tiled,
        "eager PyTorch": psnr(eager),
    }


def measure_memory(artifact: Path, folder: Path, *, threads: int) -> dict[str, float]:
    """Peak memory of the whole command: a 6 MP photo becomes 24 MP, in tiles of 256."""
    source, target = folder / "large.jpg", folder / "large_out.png"
    write_photo(Photo(read_photo_of_size(3000, 2000)), source)
    result = run_command(Command(source, target, artifact, threads, tile=256))
    return {
        "output_mp": 24.0,
        "tile": 256,
        "peak_memory_gb": round(result.peak_bytes / 1e9, 3),
        "seconds": round(result.elapsed_s, 1),
    }


def make_subjects(folder: Path, *, lite_mp: float, full_mp: float) -> list[Subject]:
    """restora-lite-x2, and a network of the shape of RealESRGAN_x2plus with random weights."""
    lite = find_artifact("restora-lite-x2", "uint8")
    weights = load_checkpoint(Path("calibration/weights/restora-lite-x2.safetensors"))
    torch.manual_seed(0)
    full = RRDBNet(scale=2).eval().requires_grad_(False)
    exported = export_network(
        full,
        model="RealESRGAN_x2plus shape",
        architecture="RRDBNet x2, random weights",
        weights_sha256="0" * 64,
    )
    path = folder / "x2plus.onnx"
    path.write_bytes(exported.artifact.onnx)
    return [
        Subject("restora-lite-x2", lite, network_from_checkpoint(weights), _photo_of(lite_mp)),
        Subject("RealESRGAN_x2plus shape", path, full, _photo_of(full_mp)),
    ]


def _photo_of(megapixels: float) -> NDArray[np.uint8]:
    """A 4:3 photo of about that size, sides multiples of 16."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 16) * 16
    return read_photo_of_size(width, round(width * 3 / 4 / 16) * 16).copy()  # writable


def format_lines(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "way", "MP in"):
        table.add_column(column)
    for column in ("s/MP", "GFLOP/s", "of raw", "PSNR dB", "spread"):
        table.add_column(column, justify="right")
    for line in lines:
        table.add_row(
            line.model,
            line.way,
            f"{line.input_mp:.2f}",
            f"{line.seconds_per_mp:.2f}",
            f"{line.gflops:.0f}",
            f"{line.against_raw:.2f}",
            f"{line.psnr:.1f}",
            f"{line.spread:.2f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lite-mp", type=float, default=2.0, help="photo for the lite model")
    parser.add_argument("--full-mp", type=float, default=0.35, help="photo for the full model")
    parser.add_argument("--threads", type=int, default=count_allowed_cores())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = make_subjects(folder, lite_mp=arguments.lite_mp, full_mp=arguments.full_mp)
        lines = [
            line
            for subject in subjects
            for line in measure_subject(
                subject, threads=arguments.threads, repeats=arguments.repeats, folder=folder
            )
        ]
        memory = [
            {
                "model": subject.name,
                **measure_memory(subject.artifact, folder, threads=arguments.threads),
            }
            for subject in subjects[:1]
        ]
    console = Console()
    console.print(format_lines(lines))
    for row in memory:
        console.print(
            f"{row['model']}: {row['output_mp']} MP result in tiles of {row['tile']}: peak memory "
            f"{row['peak_memory_gb']} GB"
        )
    write_results(
        arguments.json,
        threads=arguments.threads,
        repeats=arguments.repeats,
        lines=[asdict(line) for line in lines],
        memory=memory,
    )
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

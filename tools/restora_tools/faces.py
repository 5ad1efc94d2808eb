"""Speed of the face network on this machine's CPU: `python -m restora_tools.faces`.

ms per face in batches of 1, 4 and 8, our session beside the eager PyTorch reference in the
published (grouped) form, taking turns with the same threads; then the joint command on a photo
with four faces, stage by stage. Recipe weights.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from restora import Photo, Restorer, write_photo
from restora.backends import Batch, CpuOptions, SessionOptions, open_session
from restora.backends.cores import count_allowed_cores
from restora.faces.options import FaceOptions
from restora_benchmarks.command import Command, run_command
from restora_benchmarks.flops import count_flops
from restora_benchmarks.recipe import fill_network
from restora_calibration.photos import TRAINING, read_free_photo
from restora_export.export import export_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import GFPGAN, GFPGANv1Clean
from restora_export.verify import psnr_from_difference, run_reference
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/faces.json")
BATCHES = (1, 4, 8)


@dataclass(frozen=True, slots=True)
class FaceLine:
    """One way of restoring a batch. psnr: dB against PyTorch FP32; spread: slowest / fastest."""

    model: str
    way: str
    batch: int
    ms_per_face: float
    gflops: float
    against_eager: float
    psnr: float
    spread: float


def measure_batches(
    network: GFPGAN, artifact: Path, *, name: str, threads: int, repeats: int
) -> list[FaceLine]:
    """All batches, both ways, taking turns."""
    session = open_session(
        artifact, options=SessionOptions(backend="cpu", cpu=CpuOptions(threads=threads))
    )
    flops = count_flops(artifact.read_bytes(), batch=1, height=network.side, width=network.side)
    lines = []
    for batch in BATCHES:
        faces = _faces(batch, network.side)
        ways: dict[str, Callable[[], Batch]] = {
            "session": partial(session.run, faces),
            "eager PyTorch": partial(run_reference, network, faces),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        results: dict[str, Batch] = {}
        for turn in range(repeats + 1):  # the first turn warms up
            for way, run in ways.items():
                started = time.perf_counter()
                results[way] = run()
                if turn:
                    times[way].append(time.perf_counter() - started)
        median = {way: statistics.median(values) for way, values in times.items()}
        difference = results["session"].astype(np.float64) - results["eager PyTorch"]
        lines += [
            FaceLine(
                model=name,
                way=way,
                batch=batch,
                ms_per_face=round(1e3 * median[way] / batch, 1),
                gflops=round(flops * batch / median[way] / 1e9, 1),
                against_eager=round(median["eager PyTorch"] / median[way], 3),
                psnr=round(psnr_from_difference(difference / 255), 1),
                spread=round(max(times[way]) / min(times[way]), 3),
            )
            for way in ways
        ]
    session.close()
    return lines


def measure_joint(artifact: Path, folder: Path, *, threads: int) -> dict[str, object]:
    """The default upsampler and the face network on four astronauts side by side."""
    (astronaut,) = (photo for photo in TRAINING if photo.name == "astronaut")
    pixels = np.concatenate([read_free_photo(astronaut)] * 4, axis=1)
    source = folder / "four.png"
    write_photo(Photo(pixels), source)
    options = FaceOptions(model=artifact, detector="centerface")
    with Restorer(faces=options) as restorer:
        result = restorer.restore(pixels)
    target = folder / "four_out.png"
    words = ("--faces", "--face-model", str(artifact), "--face-detector", "centerface")
    usage = run_command(Command(source, target, None, threads, more=words))
    total = sum(result.seconds.values())
    return {
        "faces": len(result.faces),
        "photo_mp": round(pixels.shape[0] * pixels.shape[1] / 1e6, 2),
        "seconds": {stage: round(value, 3) for stage, value in result.seconds.items()},
        "share_of_detection": round(result.seconds["detect"] / total, 4),
        "command_s": round(usage.elapsed_s, 2),
        "peak_memory_gb": round(usage.peak_bytes / 1e9, 2),
    }


def _faces(count: int, side: int) -> NDArray[np.uint8]:
    tiles = load_photo_tiles()
    repeat = -(-side // tiles.shape[1])
    large = tiles.repeat(repeat, 1).repeat(repeat, 2)[:, :side, :side]
    return np.ascontiguousarray(np.resize(large, (count, side, side, 3)))


def format_lines(lines: list[FaceLine]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "way"):
        table.add_column(column)
    for column in ("batch", "ms/face", "GFLOP/s", "of eager", "PSNR dB", "spread"):
        table.add_column(column, justify="right")
    for line in lines:
        table.add_row(
            line.model,
            line.way,
            str(line.batch),
            f"{line.ms_per_face:.0f}",
            f"{line.gflops:.0f}",
            f"{line.against_eager:.2f}",
            f"{line.psnr:.1f}",
            f"{line.spread:.2f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=count_allowed_cores())
    parser.add_argument("--multiplier", type=int, default=2, help="channel multiplier")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name = f"GFPGAN clean, channel multiplier {arguments.multiplier}"
    network = GFPGANv1Clean(channel_multiplier=arguments.multiplier)
    fill_network(network, 0, "gfpgan_clean")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        artifact = folder / "face.onnx"
        exported = export_network(network, model=name, architecture=name, weights_sha256="0" * 64)
        artifact.write_bytes(exported.artifact.onnx)
        lines = measure_batches(
            network, artifact, name=name, threads=arguments.threads, repeats=arguments.repeats
        )
        joint = measure_joint(artifact, folder, threads=arguments.threads)
    console = Console()
    console.print(format_lines(lines))
    console.print(joint)
    write_results(
        arguments.json,
        threads=arguments.threads,
        repeats=arguments.repeats,
        lines=[asdict(line) for line in lines],
        joint=joint,
    )
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

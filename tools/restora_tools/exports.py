"""How exact exported artifacts are, and how large: `python -m restora_tools.exports`.

The exporter's own verification figures for networks of the published shapes with recipe weights,
FP32 and FP16. Ten minutes on two cores.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from torch import nn

from restora.artifact import Precision
from restora_benchmarks.recipe import fill_network
from restora_export.export import export_network
from restora_export.reference import GFPGANv1Clean, RRDBNet, SRVGGNetCompact
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/exports.json")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def iter_networks() -> Iterator[tuple[str, nn.Module]]:
    """Name and network, one at a time: the large ones take a third of a gigabyte."""
    for multiplier in (1, 2):
        network = fill_network(GFPGANv1Clean(channel_multiplier=multiplier), 0, "gfpgan_clean")
        yield f"GFPGANv1Clean, channel multiplier {multiplier}", network
    yield "realesr-general-x4v3 shape", fill_network(SRVGGNetCompact(4, 64, 32), 0, "srvgg")
    yield "RealESRGAN_x2plus shape", fill_network(RRDBNet(2), 0, "rrdb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = Console()
    rows = []
    for name, network in iter_networks():
        for precision in PRECISIONS:
            exported = export_network(
                network,
                model=name,
                architecture=name,
                weights_sha256="0" * 64,
                precision=precision,
                report=lambda _step: None,
            )
            figures = exported.artifact.info.accuracy
            assert figures is not None
            size_mb = len(exported.artifact.onnx) / 1e6
            rows.append(
                {
                    "model": name,
                    "precision": precision,
                    "size_mb": round(size_mb, 1),
                    **asdict(figures),
                }
            )
            console.print(
                f"{name}, {precision}: {size_mb:.1f} MB, max error {figures.max_error * 255:.1f} "
                f"levels, PSNR {figures.psnr_mean:.1f} dB mean, {figures.psnr_min:.1f} min"
            )
            write_results(arguments.json, rows=rows)
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

"""Throughput end to end: `python -m restora_tools.throughput.run`.

Photos and frames a second beside the published way, the share of the slowest stage alone that the
flow reaches, and speed and memory from one file to a thousand. Twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from restora_benchmarks.bench.photos import Setting
from restora_tools.results import write_results
from restora_tools.throughput.paced import Pace
from restora_tools.throughput.photos import measure_networks, measure_paced
from restora_tools.throughput.scale import COUNTS, measure_scale
from restora_tools.throughput.video import measure_video

RESULTS = Path("benchmarks/results/throughput.json")
FAST, EXACT = Setting("openvino", "bf16"), Setting("cpu", "fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-files", type=int, default=COUNTS[-1])
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    repeats = arguments.repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = [
            measure_paced(
                folder, "a device that sleeps, small JPEGs", Pace(), ".jpg", repeats=repeats
            ),
            measure_paced(
                folder, "a faster one, small PNGs", Pace(0.001, 0.001), ".png", repeats=repeats
            ),
        ]
        photos += [
            measure_networks(folder, setting, photos=arguments.photos, repeats=repeats)
            for setting in (FAST, EXACT)
        ]
        for row in photos:
            console.print(row)
        video = measure_video(folder, FAST, frames=arguments.frames, repeats=repeats)
        console.print(video)
        counts = tuple(count for count in COUNTS if count <= arguments.most_files)
        scale = measure_scale(folder, FAST, counts=counts)
        console.print(scale)
    write_results(arguments.json, photos=photos, video=video, scale=scale)
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

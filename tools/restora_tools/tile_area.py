"""Computed pixels for each pixel of a photo: `python -m restora_tools.tile_area`.

Overlaps, and the excess of tiles of fixed sizes, are computed in addition to the photo. The figures
follow from the sizes alone. Writes benchmarks/results/tile-area.json; a few seconds.
"""

import argparse
import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from restora.artifact import ArtifactInfo, read_artifact
from restora.artifact.split import GraphParts
from restora.backends import onnxruntime_cpu, openvino_cpu
from restora.backends.base import SizeLimits, limits_of
from restora.backends.ncnn import session as ncnn_session
from restora.backends.two_parts import limits_of_parts
from restora.models import DEFAULT_MODEL, find_artifact
from restora.options import AUTO_SIDE
from restora.tile_memory import choose_max_pixels
from restora.tiling import Tiling
from restora_tools.page_tables import row_of

RESULTS = Path("benchmarks/results/tile-area.json")
# (height, width)
PHOTOS = {
    "1 MP": (1000, 1000),
    "1080p": (1080, 1920),
    "1249 x 1601": (1249, 1601),
    "2160p": (2160, 3840),
    "12 MP": (3000, 4000),
    "2999 x 4001": (2999, 4001),
    "24 MP": (4000, 6000),
    "4001 x 6007": (4001, 6007),
    "50 MP": (5792, 8688),
}
_RANDOM_SIZES = 200
_RANDOM_PIXELS = (2e6, 50e6)
_LEAST_ASPECT = 0.4
_SEED = 20251
_GIB = 1 << 30
_LIMIT_SHARE = 3  # of --memory is the tile's
LARGE_OVERLAP = 96  # of the published RealESRGAN_x4plus
_OTHER_COST = 1.03  # of TensorRTSession
# of the trunk and of the head
_BYTES_PER_ELEMENT: dict[str, tuple[int, int | None]] = {
    "ONNX Runtime": (onnxruntime_cpu.BYTES_PER_ELEMENT, None),
    "OpenVINO bf16": (
        openvino_cpu.BYTES_PER_ELEMENT["bf16"],
        openvino_cpu.HEAD_BYTES_PER_ELEMENT["bf16"],
    ),
    "OpenVINO FP32": (
        openvino_cpu.BYTES_PER_ELEMENT["f32"],
        openvino_cpu.HEAD_BYTES_PER_ELEMENT["f32"],
    ),
    "ncnn": (ncnn_session.BYTES_PER_ELEMENT, None),
}
_DEFAULT = 6  # GiB, on a machine with 24 GiB or more
_FOR_NCNN = 16
_HOT = (512, 512)
# a side that no tile with an overlap has: only prepared shapes are used
_NO_OTHERS = 1


@dataclass(frozen=True, slots=True)
class Way:
    """One way of choosing tiles.

    used: whether sessions use it; the others are for comparison
    """

    name: str
    tiling: Tiling
    used: bool = True


def ways_for(overlap: int) -> list[Way]:
    """Of a small network, on a CPU and on a GPU."""
    info = read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info
    side = min(512, max(256, 48 * overlap))
    return [
        Way(f"CPU: even tiles up to {side} px", Tiling(side, overlap), used=False),
        _in_memory("CPU: least area", info, limits_of(info), overlap, gib=_DEFAULT),
        Way("GPU: static plan of 256 px", Tiling(256, overlap, fixed=True), used=False),
        Way(
            "GPU: static plans of 256 and 512 px",
            Tiling(_NO_OTHERS, overlap, shapes=((256, 256), _HOT)),
            used=False,
        ),
        *(_on_gpu(largest, overlap) for largest in (768, 1024)),
    ]


def ways_for_x4plus() -> list[Way]:
    """Of RRDBNet with 23 blocks: on a CPU, as a whole and in two parts, and on a GPU."""
    small = read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info
    info = replace(small, scale=4, elements_per_pixel=1024.0)
    parts = GraphParts(trunk=b"", head=b"", features="", channels=64, reach=4)
    limits = {
        runtime: limits_of_parts(info, parts, bytes_per_element=held, head_bytes_per_element=head)
        for runtime, (held, head) in _BYTES_PER_ELEMENT.items()
    }
    overlap, whole = LARGE_OVERLAP, limits_of(info)
    first = next(iter(limits))
    return [
        Way("CPU: even tiles up to 256 px", Tiling(256, overlap), used=False),
        replace(_in_memory("CPU: as a whole", info, whole, overlap, gib=_DEFAULT), used=False),
        *(_in_memory(first, info, limits[first], overlap, gib=gib) for gib in (1, 2, 4)),
        *(_in_memory(name, info, limits[name], overlap, gib=_DEFAULT) for name in limits),
        _in_memory("ncnn", info, limits["ncnn"], overlap, gib=_FOR_NCNN),
        *(_on_gpu(largest, overlap) for largest in (768, 1024, 1536, 2048)),
    ]


def _on_gpu(largest: int, overlap: int) -> Way:
    return Way(
        f"GPU: static plan of 512 px, one for ranges to {largest} px",
        Tiling(largest, overlap, shapes=(_HOT,), other_cost=_OTHER_COST),
    )


def _in_memory(name: str, info: ArtifactInfo, limits: SizeLimits, overlap: int, *, gib: int) -> Way:
    memory = _LIMIT_SHARE * gib * _GIB
    most = choose_max_pixels(info, limits, overlap=overlap, memory=memory)
    return Way(f"{name}, {gib} GiB", Tiling(AUTO_SIDE, overlap, max_pixels=most))


def random_sizes() -> list[tuple[int, int]]:
    """Photos of 2 to 50 MP, from panoramas to squares."""
    chance = random.Random(_SEED)  # noqa: S311  not a secret
    sizes = []
    for _ in range(_RANDOM_SIZES):
        pixels, aspect = chance.uniform(*_RANDOM_PIXELS), chance.uniform(_LEAST_ASPECT, 1)
        width = int((pixels / aspect) ** 0.5)
        sizes.append((int(width * aspect), width))
    return sizes


def measure(way: Way, height: int, width: int) -> float:
    """Computed pixels of all tiles, divided by those of the photo."""
    rows, columns = way.tiling.split(height, width, 1)
    tall, wide = (sum(span.stop - span.start for span in spans) for spans in (rows, columns))
    return tall * wide / (height * width)


def measure_all() -> list[dict[str, Any]]:
    rows = []
    for way in (*ways_for(16), *ways_for(32), *ways_for_x4plus()):
        found = {name: round(measure(way, *size), 3) for name, size in PHOTOS.items()}
        many = sorted(measure(way, *size) for size in random_sizes())
        found["random, median"] = round(many[len(many) // 2], 3)
        found["random, most"] = round(many[-1], 3)
        overlap = way.tiling.overlap
        rows.append({"overlap_px": overlap, "way": way.name, "used": way.used, "area": found})
    return rows


def tile_area_table(result: dict[str, Any]) -> str:
    """Computed area divided by photo area, one row for each overlap and way."""
    columns = list(result["rows"][0]["area"])
    lines = [row_of(["overlap", "tiles", *columns]), row_of(["---"] * (2 + len(columns)))]
    for row in result["rows"]:
        cells = [f"{row['area'][name]:.2f}" for name in columns]
        name = f"**{row['way']}**" if row["used"] else row["way"]
        lines.append(row_of([str(row["overlap_px"]), name, *cells]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    result = {"random_sizes": _RANDOM_SIZES, "rows": measure_all()}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(tile_area_table(result))
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

"""Computed pixels for each pixel of a photo: `python -m restora_tools.tile_area`.

Overlaps, and the excess of tiles of fixed sizes, are computed in addition to the photo. The figures
follow from the sizes alone. Writes benchmarks/results/tile-area.json; a few seconds.
"""

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restora.artifact import read_artifact
from restora.models import DEFAULT_MODEL, find_artifact
from restora.options import AUTO_SIDE
from restora.tile_memory import choose_max_pixels
from restora.tiling import Tiling, plan_tiles
from restora_tools.page_tables import row_of

RESULTS = Path("benchmarks/results/tile-area.json")
# (height, width)
PHOTOS = {
    "1080p": (1080, 1920),
    "1249 x 1601": (1249, 1601),
    "2160p": (2160, 3840),
    "12 MP": (3000, 4000),
    "2999 x 4001": (2999, 4001),
    "24 MP": (4000, 6000),
    "4001 x 6007": (4001, 6007),
    "50 MP": (5792, 8688),
}
_RANDOM_SIZES = 500
_RANDOM_PIXELS = (2e6, 50e6)
_LEAST_ASPECT = 0.4
_SEED = 20251
_MEMORY = 3 << 30  # a third of it is what tiles take by default
_OTHER_COST = 1.03  # of TensorRTSession
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
    info = read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info
    most = choose_max_pixels(info, overlap=overlap, limit=_MEMORY)
    side = min(512, max(256, 48 * overlap))
    hot = ((512, 512),)
    return [
        Way(f"CPU: even tiles up to {side} px", Tiling(side, overlap), used=False),
        Way("CPU: least area in 1 GiB", Tiling(AUTO_SIDE, overlap, max_pixels=most)),
        Way("GPU: static plan of 256 px", Tiling(256, overlap, fixed=True), used=False),
        Way(
            "GPU: static plans of 256 and 512 px",
            Tiling(_NO_OTHERS, overlap, shapes=((256, 256), *hot)),
            used=False,
        ),
        *(
            Way(
                f"GPU: static plan of 512 px, one for ranges to {largest} px",
                Tiling(largest, overlap, shapes=hot, other_cost=_OTHER_COST),
            )
            for largest in (768, 1024)
        ),
    ]


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
    plan = plan_tiles(height, width, way.tiling, multiple=1, scale=1)
    computed = sum(tile.shape[0] * tile.shape[1] for run in plan.iter_runs() for tile in run)
    return computed / (height * width)


def measure_all(overlaps: tuple[int, ...]) -> list[dict[str, Any]]:
    rows = []
    for overlap in overlaps:
        for way in ways_for(overlap):
            found = {name: round(measure(way, *size), 3) for name, size in PHOTOS.items()}
            many = sorted(measure(way, *size) for size in random_sizes())
            found["random, median"] = round(many[len(many) // 2], 3)
            found["random, most"] = round(many[-1], 3)
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
    bundled = read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info.overlap_px
    result = {"random_sizes": _RANDOM_SIZES, "rows": measure_all((bundled, 32))}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(tile_area_table(result))
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()

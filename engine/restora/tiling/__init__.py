"""Process images of any size in tiles of bounded size, and blend the tiles without seams."""

from restora.tiling.blend import Blend, place_span
from restora.tiling.grid import Span, split_axis, split_published
from restora.tiling.plan import Tile, TilePlan, Tiling, plan_tiles
from restora.tiling.run_tiles import Progress, run_tiles

__all__ = [
    "Blend",
    "Progress",
    "Span",
    "Tile",
    "TilePlan",
    "Tiling",
    "place_span",
    "plan_tiles",
    "run_tiles",
    "split_axis",
    "split_published",
]

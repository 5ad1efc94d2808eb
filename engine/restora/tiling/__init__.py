"""Tiling: any size of picture through a network of bounded size, joined without seams."""

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

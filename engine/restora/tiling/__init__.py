"""Tiling: any size of picture through a network of bounded size, joined without seams."""

from restora.tiling.blend import Blend
from restora.tiling.grid import Span, split_axis, split_published
from restora.tiling.run import Progress, Tiling, run_tiles

__all__ = ["Blend", "Progress", "Span", "Tiling", "run_tiles", "split_axis", "split_published"]

"""Plan the tiles of an image and the ramps that blend them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from restora.checks import check_choice, check_flag, check_whole, set_checked
from restora.errors import OptionError
from restora.tiling.blend import Blend, find_ramp, make_ramp
from restora.tiling.grid import Span, split_axis, split_published


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an image is split into tiles.

    size: the largest side of a tile, in input pixels; 0 means one tile for the whole image
    overlap: input pixels that neighboring tiles share
    batch: tiles per call of the network
    blend: how neighbors are blended; "crop" is the hard cut of inference_realesrgan.py
    fixed: tiles have exactly `size` pixels
    published_grid: use the grid of inference_realesrgan.py: tiles of `size` pixels, padded by
        overlap / 2
    """

    size: int = 256
    overlap: int = 32
    batch: int = 1
    blend: Blend = "cosine"
    fixed: bool = False
    published_grid: bool = False

    def __post_init__(self) -> None:
        set_checked(
            self,
            size=check_whole("the size of tiles", self.size, minimum=0),
            overlap=check_whole("the overlap of tiles", self.overlap, minimum=0),
            batch=check_whole("the batch of tiles", self.batch, minimum=1),
            blend=check_choice("blend", self.blend, get_args(Blend)),
            fixed=check_flag("fixed", self.fixed),
            published_grid=check_flag("published_grid", self.published_grid),
        )

    @property
    def fade_px(self) -> int:
        """The widest ramp between two tiles, in input pixels: an even number, 0 for a hard cut.

        The outer quarters of an overlap are not used: there a tile sees least of its surroundings.
        """
        return 0 if self.blend == "crop" else self.overlap // 2 // 2 * 2

    def split(self, length: int, multiple: int) -> list[Span]:
        if self.size == 0:
            return [Span(0, length, 0, length)]
        if self.published_grid:
            if self.size % multiple or self.overlap // 2 % multiple:
                raise OptionError(
                    f"on the published grid tile and padding must be multiples of {multiple} for "
                    f"this model, got {self.size} and {self.overlap // 2}"
                )
            return split_published(length, tile=self.size, pad=self.overlap // 2)
        return split_axis(
            length, size=self.size, overlap=self.overlap, multiple=multiple, fixed=self.fixed
        )


@dataclass(frozen=True, slots=True)
class Tile:
    rows: Span
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """All tiles of an image, and the weights of the ramps between them in output pixels."""

    rows: list[Span]
    cols: list[Span]
    row_ramp: NDArray[np.float32]
    col_ramp: NDArray[np.float32]

    def iter_runs(self) -> Iterator[list[Tile]]:
        """Iterate over the tiles row by row, in groups of consecutive tiles of the same shape."""
        tiles = (Tile(row, col) for row in self.rows for col in self.cols)
        for _, same_shape in groupby(tiles, key=lambda tile: tile.shape):
            yield list(same_shape)


def plan_tiles(height: int, width: int, tiling: Tiling, *, multiple: int, scale: int) -> TilePlan:
    """Plan the tiles of an image of height x width pixels, both multiples of `multiple`.

    Raises OptionError if the tiling does not suit the model.
    """
    rows, cols = tiling.split(height, multiple), tiling.split(width, multiple)
    return TilePlan(
        rows, cols, _output_ramp(rows, tiling, scale), _output_ramp(cols, tiling, scale)
    )


def _output_ramp(spans: list[Span], tiling: Tiling, scale: int) -> NDArray[np.float32]:
    return make_ramp(find_ramp(spans, widest=tiling.fade_px) * scale, tiling.blend)

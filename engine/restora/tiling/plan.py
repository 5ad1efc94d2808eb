"""Plan the tiles of an image and the ramps that blend them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from restora.checks import check_choice, check_flag, check_number, check_whole, set_checked
from restora.errors import OptionError
from restora.tiling.blend import Blend, find_ramp, make_ramp
from restora.tiling.choose import Shape, choose_tiles
from restora.tiling.grid import Span, split_axis, split_published


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are split into tiles: the limits of tiles, and how tiles are joined.

    size: the largest side of a tile, in input pixels; 0 means one tile for the whole image
    overlap: input pixels that neighboring tiles share
    batch: tiles per call of the network
    blend: how neighbors are blended; "crop" is the hard cut of inference_realesrgan.py
    fixed: tiles have exactly `size` pixels
    published_grid: use the grid of inference_realesrgan.py: tiles of `size` pixels, padded by
        overlap / 2
    max_pixels: the largest area of a tile in input pixels; None means no limit
    shapes: heights and widths that the session is prepared for; they may exceed `size`
    other_cost: the time of a pixel in tiles of other shapes, relative to `shapes`

    Within these limits, the tiles of an image are those that compute the fewest pixels; see
    choose_tiles. `fixed` and `published_grid` leave no choice.
    """

    size: int = 256
    overlap: int = 32
    batch: int = 1
    blend: Blend = "cosine"
    fixed: bool = False
    published_grid: bool = False
    max_pixels: int | None = None
    shapes: tuple[Shape, ...] = ()
    other_cost: float = 1.0

    def __post_init__(self) -> None:
        most = self.max_pixels
        set_checked(
            self,
            size=check_whole("the size of tiles", self.size, minimum=0),
            overlap=check_whole("the overlap of tiles", self.overlap, minimum=0),
            batch=check_whole("the batch of tiles", self.batch, minimum=1),
            blend=check_choice("blend", self.blend, get_args(Blend)),
            fixed=check_flag("fixed", self.fixed),
            published_grid=check_flag("published_grid", self.published_grid),
            max_pixels=most if most is None else check_whole("max_pixels", most, minimum=1),
            other_cost=check_number("other_cost", self.other_cost, minimum=0.001, maximum=1000),
        )

    @property
    def fade_px(self) -> int:
        """The widest ramp between two tiles, in input pixels: an even number, 0 for a hard cut.

        The outer quarters of an overlap are not used: there a tile sees least of its surroundings.
        """
        return 0 if self.blend == "crop" else self.overlap // 2 // 2 * 2

    @property
    def largest_px(self) -> int | None:
        """The most pixels of a tile; None means the whole image."""
        sides = self.size + (self.overlap // 2 * 2 if self.published_grid else 0)
        if not self.size or self.fixed or self.published_grid:
            return sides**2 or None
        largest = max([sides**2, *(height * width for height, width in self.shapes)])
        return largest if self.max_pixels is None else min(largest, self.max_pixels)

    def split(self, height: int, width: int, multiple: int) -> tuple[list[Span], list[Span]]:
        """The rows and columns of tiles of an image, whose sides are multiples of `multiple`.

        Raises OptionError if no tile within the limits suits the model.
        """
        if self.size == 0:
            return [Span(0, height, 0, height)], [Span(0, width, 0, width)]
        if self.published_grid:
            return self._split_published(height, multiple), self._split_published(width, multiple)
        shape, fixed = (self.size, self.size), self.fixed
        if not fixed:
            chosen = choose_tiles(
                height,
                width,
                overlap=self.overlap,
                multiple=multiple,
                size=self.size,
                max_pixels=self.max_pixels,
                shapes=self.shapes,
                other_cost=self.other_cost,
            )
            shape, fixed = chosen.shape, chosen.fixed
        rows, columns = (
            # an axis of one tile may be no longer than an overlap
            [Span(0, length, 0, length)]
            if side == length
            else split_axis(length, size=side, overlap=self.overlap, multiple=multiple, fixed=fixed)
            for length, side in zip((height, width), shape, strict=True)
        )
        return rows, columns

    def _split_published(self, length: int, multiple: int) -> list[Span]:
        if self.size % multiple or self.overlap // 2 % multiple:
            raise OptionError(
                f"on the published grid tile and padding must be multiples of {multiple} for "
                f"this model, got {self.size} and {self.overlap // 2}"
            )
        return split_published(length, tile=self.size, pad=self.overlap // 2)


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
    rows, cols = tiling.split(height, width, multiple)
    return TilePlan(
        rows, cols, _output_ramp(rows, tiling, scale), _output_ramp(cols, tiling, scale)
    )


def _output_ramp(spans: list[Span], tiling: Tiling, scale: int) -> NDArray[np.float32]:
    return make_ramp(find_ramp(spans, widest=tiling.fade_px) * scale, tiling.blend)

"""Cut a picture into tiles: how, where, and how they are joined."""

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
    """How a picture is cut.

    size: largest side of a tile in input pixels; 0 = the whole picture at once
    overlap: input pixels that neighbors share
    batch: tiles per call of the network
    blend: how neighbors are joined; "crop" is the published hard cut
    fixed: tiles measure exactly `size`
    published_grid: the published script's grid: `size` is the core, overlap / 2 the padding
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
            size=check_whole("the size of tiles", self.size, least=0),
            overlap=check_whole("the overlap of tiles", self.overlap, least=0),
            batch=check_whole("the batch of tiles", self.batch, least=1),
            blend=check_choice("blend", self.blend, get_args(Blend)),
            fixed=check_flag("fixed", self.fixed),
            published_grid=check_flag("published_grid", self.published_grid),
        )

    @property
    def fade_px(self) -> int:
        """The widest fade between two tiles in input pixels, an even number; 0: a hard cut.

        The outer quarter on either side of an overlap is left out: there a tile knows least of
        its surroundings.
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
    """All tiles of one picture, and the weights of the fades between them in output pixels."""

    rows: list[Span]
    cols: list[Span]
    row_ramp: NDArray[np.float32]
    col_ramp: NDArray[np.float32]

    def iter_runs(self) -> Iterator[list[Tile]]:
        """Tiles row by row, neighbors of one shape together."""
        tiles = (Tile(row, col) for row in self.rows for col in self.cols)
        for _, same_shape in groupby(tiles, key=lambda tile: tile.shape):
            yield list(same_shape)


def plan_tiles(height: int, width: int, tiling: Tiling, *, multiple: int, scale: int) -> TilePlan:
    """Cut a picture of height x width, both multiples of `multiple`. Raises OptionError."""
    rows, cols = tiling.split(height, multiple), tiling.split(width, multiple)
    return TilePlan(
        rows, cols, _output_ramp(rows, tiling, scale), _output_ramp(cols, tiling, scale)
    )


def _output_ramp(spans: list[Span], tiling: Tiling, scale: int) -> NDArray[np.float32]:
    return make_ramp(find_ramp(spans, widest=tiling.fade_px) * scale, tiling.blend)

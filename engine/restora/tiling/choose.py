"""Choose the tiles of an image: those that compute the fewest pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from restora.errors import OptionError
from restora.tiling.grid import count_tiles, even_size, round_up

Shape = tuple[int, int]

# What a call costs beside its pixels, in pixels. Measured with restora-lite-x2 on a CPU: 300 with
# ONNX Runtime, 850 with OpenVINO in bfloat16. It decides between layouts of about the same area.
CALL_PX = 1024


@dataclass(frozen=True, slots=True)
class TileChoice:
    """The tiles of one image, all of one shape.

    shape: height and width of a tile
    fixed: tiles have exactly this shape, because the session is prepared for it
    count: the number of tiles
    """

    shape: Shape
    fixed: bool
    count: int

    @property
    def computed_px(self) -> int:
        """The pixels that the network computes, overlaps included."""
        return self.count * self.shape[0] * self.shape[1]


def choose_tiles(
    height: int,
    width: int,
    *,
    overlap: int,
    multiple: int = 1,
    size: int,
    max_pixels: int | None = None,
    shapes: Sequence[Shape] = (),
    other_cost: float = 1.0,
) -> TileChoice:
    """Choose the tiles of an image of height x width pixels, both multiples of `multiple`.

    overlap: the least number of pixels that neighbors share
    multiple: heights and widths of tiles are multiples of this
    size: the largest side of tiles that are not one of `shapes`
    max_pixels: the largest area of a tile; None means no limit
    shapes: the shapes that the session is prepared for
    other_cost: the time of a pixel in tiles of other shapes, relative to `shapes`

    The choice has the least computed area, weighted with `other_cost` outside `shapes`, plus
    CALL_PX for each tile. It depends on the arguments alone. Raises OptionError if no tile within
    the limits is larger than its overlap.
    """
    overlap = round_up(overlap, multiple)
    choices: list[tuple[float, TileChoice]] = [
        (found.computed_px + CALL_PX * found.count, found)
        for shape in shapes
        if max_pixels is None or shape[0] * shape[1] <= max_pixels
        for found in _with_fixed(height, width, shape, overlap, multiple)
    ]
    choices += [
        (found.computed_px * other_cost + CALL_PX * found.count, found)
        for found in _even_choices(height, width, overlap, multiple, size, max_pixels)
    ]
    if not choices:
        within = "" if max_pixels is None else f" of at most {max_pixels} pixels"
        raise OptionError(
            f"a tile must be larger than its overlap, got tile {size}{within} and overlap "
            f"{overlap} (both in steps of {multiple})"
        )
    return min(choices, key=lambda choice: (choice[0], choice[1].count, choice[1].shape))[1]


def _with_fixed(
    height: int, width: int, shape: Shape, overlap: int, multiple: int
) -> Iterator[TileChoice]:
    """Tiles of exactly `shape`; none if the image or the overlap does not suit it."""
    if shape[0] % multiple or shape[1] % multiple or min(shape) <= overlap:
        return
    if shape[0] <= height and shape[1] <= width:
        rows = count_tiles(height, size=shape[0], overlap=overlap)
        columns = count_tiles(width, size=shape[1], overlap=overlap)
        yield TileChoice(shape, fixed=True, count=rows * columns)


def _even_choices(
    height: int, width: int, overlap: int, multiple: int, size: int, max_pixels: int | None
) -> Iterator[TileChoice]:
    """Equal tiles within the limits: for each number of rows, the fewest columns.

    It ends where more rows only add overlap: at tiles of the largest width, or where one column
    would compute no less than the best choice, in no fewer calls.
    """
    size = size // multiple * multiple
    if size <= overlap:
        return
    fewest = count_tiles(height, size=size, overlap=overlap)
    most = count_tiles(height, size=overlap + multiple, overlap=overlap)
    best: TileChoice | None = None
    for rows in range(fewest, most + 1):
        least = (height + (rows - 1) * overlap) * width
        if best is not None and least >= best.computed_px and rows >= best.count:
            return
        tall = even_size(height, count=rows, overlap=overlap, multiple=multiple)
        # rounding may have made tiles so tall that fewer suffice
        needed = count_tiles(height, size=tall, overlap=overlap)
        tall = even_size(height, count=needed, overlap=overlap, multiple=multiple)
        widest = size
        if max_pixels is not None:
            widest = min(size, max_pixels // tall // multiple * multiple)
        if widest >= min(width, overlap + multiple):
            columns = count_tiles(width, size=widest, overlap=overlap)
            wide = even_size(width, count=columns, overlap=overlap, multiple=multiple)
            choice = TileChoice((tall, wide), fixed=False, count=needed * columns)
            if best is None or choice.computed_px < best.computed_px:
                best = choice
            yield choice
        if widest == size:
            return

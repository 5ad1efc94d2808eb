"""Split an axis into overlapping windows with seams between them."""

from dataclasses import dataclass
from itertools import pairwise

from restora.errors import OptionError


@dataclass(frozen=True, slots=True)
class Span:
    """One window along one axis, in input pixels.

    start, stop: the pixels that the network sees
    left, right: the seams; the output for left..right comes from this window
    """

    start: int
    stop: int
    left: int
    right: int


def split_axis(
    length: int, *, size: int, overlap: int, multiple: int = 1, fixed: bool = False
) -> list[Span]:
    """Cover 0..length with as few equal windows as possible.

    length: a multiple of `multiple`
    size: the largest window; windows shrink to the size that an even split needs
    overlap: the least number of pixels that neighbors share; seams lie in the middle of the overlap
    multiple: starts and sizes of windows are multiples of this
    fixed: windows have exactly `size` pixels (for engines with one shape), or `length` if shorter
    """
    if length < 1 or length % multiple:
        raise OptionError(f"length must be a positive multiple of {multiple}, got {length}")
    size = size // multiple * multiple
    overlap = round_up(overlap, multiple)
    if overlap < 0 or size <= overlap:
        raise OptionError(
            f"a tile must be larger than its overlap, got tile {size} and overlap {overlap} "
            f"(both in steps of {multiple})"
        )
    if length <= size:
        return [Span(0, length, 0, length)]
    count = count_tiles(length, size=size, overlap=overlap)
    if not fixed:
        size = even_size(length, count=count, overlap=overlap, multiple=multiple)
    room = (length - size) // multiple
    starts = [room * index // (count - 1) * multiple for index in range(count)]
    return _with_seams([(start, start + size) for start in starts], length)


def split_published(length: int, *, tile: int, pad: int) -> list[Span]:
    """Split an axis as inference_realesrgan.py does: `tile` pixels, padded by `pad`."""
    if tile < 1 or pad < 0:
        raise OptionError(f"tile must be positive and its padding not negative, got {tile}, {pad}")
    spans = []
    for left in range(0, length, tile):
        right = min(left + tile, length)
        spans.append(Span(max(0, left - pad), min(length, right + pad), left, right))
    return spans


def round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def count_tiles(length: int, *, size: int, overlap: int) -> int:
    """The fewest tiles of at most `size` pixels that cover `length`; `size` exceeds `overlap`."""
    return 1 if length <= size else -(-(length - overlap) // (size - overlap))


def even_size(length: int, *, count: int, overlap: int, multiple: int) -> int:
    """The size of `count` equal tiles that cover `length`."""
    return round_up(-(-(length + (count - 1) * overlap) // count), multiple)


def _with_seams(windows: list[tuple[int, int]], length: int) -> list[Span]:
    middles = [(later[0] + earlier[1]) // 2 for earlier, later in pairwise(windows)]
    seams = [0, *middles, length]
    return [
        Span(start, stop, left, right)
        for (start, stop), left, right in zip(windows, seams, seams[1:], strict=False)
    ]

"""The facts of a TIFF file that decide whether and how it is decoded, read from its directory."""

from __future__ import annotations

from dataclasses import dataclass

from restora.errors import AnimatedImageError, UnsupportedImageError
from restora.image.ifd import ORIENTATION, Entry, IfdError, Structure

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
JPEG = 7
# what libtiff and tifffile name them; the rest is refused by number
COMPRESSIONS = {
    1: "none", 2: "CCITT RLE", 3: "CCITT group 3", 4: "CCITT group 4", 5: "LZW", JPEG: "JPEG",
    8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
_PHOTOMETRIC = {
    WHITE_IS_ZERO: "gray", BLACK_IS_ZERO: "gray", RGB: "RGB", PALETTE: "palette", 4: "mask",
    CMYK: "CMYK", YCBCR: "YCbCr", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "raw sensor",
    32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}  # fmt: skip
_COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_SUBFILE, _OLD_SUBFILE, _REDUCED = 254, 255, 1
_MAX_PAGES = 16  # previews that are looked at before a file counts as several pages
_MAX_SAMPLES = 32
# tiles may be larger than a small picture, and no larger than this many pixels then
_MAX_TILE_PIXELS = 1 << 22


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """The first page of a TIFF file.

    bits: of a channel, 1..16
    extra: the meaning of each channel beyond the colors: 0 unspecified, 1 alpha that the colors are
        multiplied by, 2 alpha
    separate: channels lie one after another (PlanarConfiguration 2)
    segment: (height, width) of a strip or tile
    segments: number of strips or tiles
    """

    width: int
    height: int
    bits: int
    photometric: int
    samples: int
    extra: tuple[int, ...]
    compression: int
    separate: bool
    orientation: int
    segment: tuple[int, int]
    segments: int
    entries: dict[int, Entry]

    @property
    def colors(self) -> int:
        return _COLORS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """The channel that is transparency; None if there is none."""
        return next((self.colors + i for i, kind in enumerate(self.extra) if kind in (1, 2)), None)

    @property
    def is_premultiplied(self) -> bool:
        """Whether the colors are multiplied by the alpha."""
        return self.alpha is not None and self.extra[self.alpha - self.colors] == 1


def read_tiff_facts(structure: Structure, *, name: str) -> TiffFacts:
    """Raises UnsupportedImageError for what is not decoded, AnimatedImageError for several pages,
    and IfdError for a damaged directory."""
    entries, following = structure.directory(structure.first)
    page = _Page(structure, entries)
    _check_single(structure, page, following, name)
    width, height = page.one(256), page.one(257)
    if width < 1 or height < 1:
        raise IfdError(f"its size is {width} x {height}")
    samples = page.one(277, 1)
    photometric = page.one(262, BLACK_IS_ZERO if samples < 3 else RGB)
    separate = page.one(284, 1) == 2
    segment = _read_segment(page, height, width)
    across = -(-height // segment[0]) * -(-width // segment[1])
    facts = TiffFacts(
        width,
        height,
        bits=_read_bits(page, name),
        photometric=photometric,
        samples=samples,
        extra=_read_extra(page, samples - _COLORS.get(photometric, samples)),
        compression=page.one(259, 1),
        separate=separate,
        orientation=_read_orientation(page),
        segment=segment,
        segments=across * (samples if separate else 1),
        entries=entries,
    )
    _check_kind(facts, page, name)
    _check_tiles(facts, page, name)
    return facts


class _Page:
    """Values of one directory."""

    def __init__(self, structure: Structure, entries: dict[int, Entry]) -> None:
        self._structure = structure
        self._entries = entries

    def all(self, tag: int) -> tuple[int, ...]:
        entry = self._entries.get(tag)
        if entry is None:
            return ()
        if entry.count > _MAX_SAMPLES:
            raise IfdError(f"tag {tag} has {entry.count} values")
        return self._structure.integers(entry)

    def one(self, tag: int, default: int | None = None) -> int:
        found = self.all(tag)
        if found:
            return found[0]
        if default is None:
            raise IfdError(f"it lacks tag {tag}")
        return default


def _check_single(structure: Structure, page: _Page, following: int, name: str) -> None:
    """Smaller copies behind the picture are no pages; a picture that is itself such a copy is the
    preview of a raw camera file."""
    if page.one(_SUBFILE, 0) & _REDUCED or page.one(_OLD_SUBFILE, 1) == 2:
        raise UnsupportedImageError(
            f"{name} begins with a preview of another picture in it, as raw camera files do: "
            "develop it to TIFF, PNG or JPEG first"
        )
    for _ in range(_MAX_PAGES):
        if not following:
            return
        entries, behind = structure.directory(following)
        other = _Page(structure, entries)
        if not (other.one(_SUBFILE, 0) & _REDUCED or other.one(_OLD_SUBFILE, 1) == 2):
            break
        following = behind
    raise AnimatedImageError(f"{name} holds several pages, and a photo is one: split it first")


def _read_bits(page: _Page, name: str) -> int:
    bits = page.all(258) or (1,)
    formats = page.all(339) or (1,)
    if len(set(bits)) > 1 or not 1 <= bits[0] <= 16 or set(formats) != {1}:
        kind = "signed, floating-point or undefined" if set(formats) != {1} else "unsigned"
        raise UnsupportedImageError(
            f"{name} must have unsigned channels of one depth of at most 16 bits, it has {kind} "
            f"channels of {', '.join(map(str, sorted(set(bits))))} bits"
        )
    return bits[0]


def _read_extra(page: _Page, count: int) -> tuple[int, ...]:
    if count <= 0:
        return ()
    # a fourth channel without a name is transparency, as Pillow and OpenCV have it
    return (page.all(338) or ((2,) if count == 1 else ()))[:count]


def _read_segment(page: _Page, height: int, width: int) -> tuple[int, int]:
    """(height, width) of a tile, or of a strip."""
    tile = page.one(323, 0), page.one(322, 0)
    if all(tile):
        return tile
    if any(tile):
        raise IfdError(f"its tiles are {tile[1]} x {tile[0]}")
    rows = page.one(278, height)
    if rows < 1:
        raise IfdError(f"its strips have {rows} rows")
    return min(rows, height), width


def _read_orientation(page: _Page) -> int:
    try:
        orientation = page.one(ORIENTATION, 1)
    except IfdError:  # written as text or as a fraction
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _check_kind(facts: TiffFacts, page: _Page, name: str) -> None:
    kind = _PHOTOMETRIC.get(facts.photometric, f"photometric interpretation {facts.photometric}")
    if facts.photometric not in _COLORS:
        raise UnsupportedImageError(f"{name}: TIFF pictures of kind {kind} are not supported")
    if facts.compression not in COMPRESSIONS:
        raise UnsupportedImageError(
            f"{name}: the TIFF compression {facts.compression} is not supported: save it with LZW "
            "or Deflate"
        )
    if not facts.colors <= facts.samples <= _MAX_SAMPLES:
        raise UnsupportedImageError(
            f"{name}: a {kind} picture has at least {facts.colors} channels, it has {facts.samples}"
        )
    if facts.bits != 8 and facts.photometric in (CMYK, YCBCR):
        raise UnsupportedImageError(f"{name}: {kind} with {facts.bits} bits is not supported")
    if facts.bits > 8 and (facts.photometric == PALETTE or facts.compression == JPEG):
        raise UnsupportedImageError(
            f"{name}: {kind} with {facts.bits} bits and {COMPRESSIONS[facts.compression]} "
            "compression is not supported"
        )
    if facts.photometric == YCBCR and facts.compression != JPEG:
        raise UnsupportedImageError(f"{name}: YCbCr is supported with JPEG compression only")
    if facts.photometric == CMYK and (page.one(332, 1) != 1 or facts.samples != 4):
        raise UnsupportedImageError(f"{name}: inks other than CMYK are not supported")


def _check_tiles(facts: TiffFacts, page: _Page, name: str) -> None:
    height, width = facts.segment
    if height * width > max(_MAX_TILE_PIXELS, 4 * facts.width * facts.height):
        raise UnsupportedImageError(
            f"{name} is {facts.width} x {facts.height} and claims tiles of {width} x {height}"
        )
    if page.one(32997, 1) != 1:  # ImageDepth
        raise UnsupportedImageError(f"{name} is a volume of several slices")

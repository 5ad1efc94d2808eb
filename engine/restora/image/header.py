"""Open a picture by its content and judge it by its header, before a pixel is decoded."""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from restora.errors import AnimatedImageError, ImageTooLargeError, UnknownFormatError
from restora.image.guard import file_errors
from restora.image.ifd import IfdError, structure_of
from restora.image.limits import PhotoLimits

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow < 11.3
    AvifImagePlugin = None  # type: ignore[assignment]

_PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    PpmImagePlugin,
)
_BY_PILLOW = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "PPM",
    *(("AVIF",) if AvifImagePlugin else ()),
)
FORMATS = ("TIFF", *_BY_PILLOW)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PREFIX_BYTES = 16
# formats that people take for supported ones, by their first bytes
_OTHERS = (
    (0, b"8BPS", "Photoshop"), (0, b"%PDF", "PDF"), (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"), (4, b"ftyphei", "HEIC"), (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIF"), (4, b"ftypmsf1", "HEIF"), (4, b"ftypavi", "AVIF"),
    (4, b"ftypcrx", "a Canon raw file"), (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw file"),
    (0, b"IIU\0", "a Panasonic raw file"), (0, b"IIRO", "an Olympus raw file"),
    (4, b"ftyp", "a video"), (0, b"\x1aE\xdf\xa3", "a video"), (0, b"<svg", "SVG"),
)  # fmt: skip
_MP_COUNT = 0xB001


def is_tiff(data: bytes) -> bool:
    return data[:4] in _TIFF


def find_format(prefix: bytes) -> str | None:
    """The format whose first bytes these are, as Pillow names it; None if there is none on the
    list. 16 bytes are enough, and nothing else is looked at."""
    if is_tiff(prefix):
        return "TIFF"
    for format_ in _BY_PILLOW:
        accept = Image.OPEN[format_][1]
        # a string says why Pillow was built without it
        if accept is not None and accept(prefix[:_PREFIX_BYTES]) is True:
            return str(format_)
    return None


def open_header(data: bytes, *, name: str) -> ImageFile.ImageFile:
    """Open a picture of any format but TIFF with Pillow, lazily.

    Pillow's plugins are called directly: its Image.open judges size by a process-wide setting
    that is not ours to change.

    Raises UnknownFormatError or, if a format claims the bytes but cannot read on,
    TruncatedImageError.
    """
    if not data:
        raise UnknownFormatError(f"{name} is empty")
    format_ = find_format(data[:_PREFIX_BYTES])
    if format_ is None:
        kinds = (kind for at, begin, kind in _OTHERS if data[at : at + len(begin)] == begin)
        found = next(kinds, None) or f"unknown, it begins with {data[:8]!r}"
        raise UnknownFormatError(
            f"{name}: unsupported image format ({found}); supported are {', '.join(FORMATS)}"
        )
    factory = _open_jpeg if format_ == "JPEG" else Image.OPEN[format_][0]
    what = f"begins like a {format_} picture, but its header ends early or is damaged"
    with file_errors(name, what):
        return factory(BytesIO(data), "")


def find_webp_size(prefix: bytes) -> tuple[int, int] | None:
    """(width, height) of the canvas, from the first 30 bytes of a WebP file; None for other files.

    libwebp takes memory for the canvas when a file is opened. RFC 9649, sections 2.5 to 2.7.
    """
    if prefix[:4] != b"RIFF" or prefix[8:12] != b"WEBP" or len(prefix) < 30:
        return None
    kind = prefix[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(prefix[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(prefix[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(prefix[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return width, height


def find_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in the frame header of a JPEG picture; None if there is none before the
    pixels. ITU-T T.81, annex B."""
    position = 2 if data[:2] == b"\xff\xd8" else 0
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        elif marker == 0xDA:
            return None
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def use_one_thread() -> None:
    """Let decoders of this process start no threads: each has a stack that counts as memory."""
    if AvifImagePlugin is not None:
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def check_size(width: int, height: int, limits: PhotoLimits, *, name: str) -> None:
    """Raise ImageTooLargeError for more pixels than the limit."""
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"{name} is {width} x {height} = {width * height / 1e6:.0f} MP, the limit is "
            f"{limits.max_pixels / 1e6:g}: raise it with max_pixels (--max-pixels) if the file "
            "can be trusted"
        )


def check_single(image: ImageFile.ImageFile, *, name: str) -> None:
    """Raise AnimatedImageError for several frames."""
    if getattr(image, "is_animated", False):
        raise AnimatedImageError(f"{name} holds several frames, and a photo is one: split it first")


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG file whose EXIF block is not read for its resolution: the block may claim many times
    its size (see restora.image.ifd)."""

    def _read_dpi_from_exif(self) -> None:
        return


def _open_jpeg(stream: BytesIO, filename: str) -> ImageFile.ImageFile:
    """MPO if more pictures lie behind the first one: a phone's depth map or preview."""
    image = _Jpeg(stream, filename)
    if _count_pictures(image) > 1:
        image.format = "MPO"
    return image


def _count_pictures(image: ImageFile.ImageFile) -> int:
    block = image.info.get("mp")
    if not isinstance(block, bytes):
        return 1
    try:
        structure = structure_of(block)
        entry = structure.directory(structure.first)[0][_MP_COUNT]
        return structure.integers(entry)[0]
    except (IfdError, KeyError, IndexError):
        return 1

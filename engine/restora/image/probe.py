"""Facts about a picture that need no decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFile

from restora.errors import ImageError, TruncatedImageError, UnknownFormatError
from restora.image.file import open_file, read_up_to
from restora.image.guard import file_errors
from restora.image.header import find_format, is_tiff, open_header
from restora.image.ifd import Structure, open_structure, structure_of
from restora.image.limits import PhotoLimits
from restora.image.metadata import read_metadata
from restora.image.pnm import read_pnm_header
from restora.image.tiff_header import CMYK, PALETTE, read_tiff_facts

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PREFIX_BYTES = 1 << 20
_SNIFFED_BYTES = 16
_AVIF_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """Facts about an upright picture.

    channels: transparency is one
    bits: of a channel as it is kept, 8 or 16
    file_bytes: size of the file, where it was read from one
    """

    width: int
    height: int
    format: str
    channels: int = 3
    bits: int = 8
    file_bytes: int = 0


def probe_photo(data: bytes, *, name: str = "image") -> PhotoHeader:
    """From the bytes of a file; its first megabyte is enough for most formats.

    Raises UnknownFormatError, UnsupportedImageError, AnimatedImageError or TruncatedImageError.
    """
    with file_errors(name):
        return _probe_tiff(structure_of(data), name) if is_tiff(data) else _probe_other(data, name)


def probe_file(path: Path | str, *, limits: PhotoLimits | None = None) -> PhotoHeader:
    """The same of a file, of which no more is read than needed.

    Raises ImageError: also NotAFileError and FileTooLargeError.
    """
    name = str(path)
    with open_file(path, limits) as (stream, size), file_errors(name):
        prefix = read_up_to(stream, min(size, _PREFIX_BYTES))
        if is_tiff(prefix):

            def read(offset: int, count: int) -> bytes:
                if offset + count <= len(prefix):
                    return prefix[offset : offset + count]
                stream.seek(offset)
                return read_up_to(stream, min(count, max(0, size - offset)))

            header = _probe_tiff(open_structure(read, size), name)
        else:
            try:
                header = _probe_other(prefix, name)
            except ImageError as error:  # WebP and AVIF may need all of it
                if isinstance(error, UnknownFormatError) or size <= len(prefix):
                    raise
                header = _probe_other(prefix + read_up_to(stream, size - len(prefix)), name)
    return PhotoHeader(
        header.width, header.height, header.format, header.channels, header.bits, size
    )


def sniff_file(path: Path | str, *, limits: PhotoLimits | None = None) -> str:
    """The format of a file by its first bytes, as Pillow names it; no parser runs.

    Raises NotAFileError, FileTooLargeError or UnknownFormatError, plain ImageError if it cannot be
    read.
    """
    with open_file(path, limits) as (stream, _):
        prefix = read_up_to(stream, _SNIFFED_BYTES)
    found = find_format(prefix)
    if found is None:
        open_header(prefix, name=str(path))  # says what it is instead
        raise UnknownFormatError(f"{path}: unsupported image format")
    return found


def bits_of_png(data: bytes) -> int:
    """Bits per channel as stored: what Pillow shows as 8 may be 16.

    Raises TruncatedImageError unless the first chunk is the header.
    """
    if data[12:16] != b"IHDR":
        raise TruncatedImageError(f"a PNG file must begin with IHDR, it has {data[12:16]!r}")
    return data[24]


def bits_of_avif(data: bytes) -> int:
    """From the configuration of the first AV1 image. AV1 in ISOBMFF, section 2.3."""
    at = data.find(b"av1C", 0, _AVIF_BYTES)
    flags = data[at + 6] if at >= 0 and at + 6 < len(data) else 0
    if not flags & 0x40:
        return 8
    return 12 if flags & 0x20 else 10


def _probe_tiff(structure: Structure, name: str) -> PhotoHeader:
    facts = read_tiff_facts(structure, name=name)
    width, height = facts.width, facts.height
    if facts.orientation >= 5:
        width, height = height, width
    colors = 3 if facts.photometric in (PALETTE, CMYK) else facts.colors
    channels = colors + (facts.alpha is not None)
    return PhotoHeader(width, height, "TIFF", channels, 8 if facts.bits <= 8 else 16)


def _probe_other(data: bytes, name: str) -> PhotoHeader:
    image = open_header(data, name=name)
    _, orientation = read_metadata(image)
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    channels, bits = _layout(image, data)
    return PhotoHeader(width, height, str(image.format), channels, bits)


def has_transparency(image: ImageFile.ImageFile) -> bool:
    """What the header says; transparency that a file names behind its pixels does not count."""
    return image.mode in _WITH_ALPHA or image.has_transparency_data


def _has_transparent_value(data: bytes) -> bool:
    """Whether a 16-bit PNG names one value as transparent, in a chunk of the right length."""
    length = {0: 2, 2: 6}.get(data[25])
    return length is not None and struct.pack(">I", length) + b"tRNS" in data


def _layout(image: ImageFile.ImageFile, data: bytes) -> tuple[int, int]:
    """Channels and bits of a channel as they are kept."""
    if image.format == "PPM" and (header := read_pnm_header(data)):
        return header.channels, 16 if header.white > 255 else 8
    if image.format == "PNG" and bits_of_png(data) == 16:
        return _PNG_CHANNELS.get(data[25], 4) + _has_transparent_value(data), 16
    channels = 1 if image.mode in _GRAY else 3
    return channels + has_transparency(image), 8

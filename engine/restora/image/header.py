"""Open a picture by its content and judge it by its header, before a pixel is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from restora.errors import (
    AnimatedImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnknownFormatError,
)

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow < 11.3
    AvifImagePlugin = None  # type: ignore[assignment]

_PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    TiffImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    PpmImagePlugin,
)
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "BMP",
    "GIF",
    "PPM",
    *(("AVIF",) if AvifImagePlugin else ()),
)
_PREFIX_BYTES = 16


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """max_pixels: largest width * height of an input picture."""

    max_pixels: int = 200_000_000


def open_header(data: bytes, *, name: str) -> ImageFile.ImageFile:
    """Read the header of the first format on the list that knows these bytes.

    Pillow's plugins are called directly: its Image.open judges size by a process-wide setting
    that is not ours to change.

    Raises UnknownFormatError or, if a format claims the bytes but cannot read on,
    TruncatedImageError.
    """
    if not data:
        raise UnknownFormatError(f"{name} is empty")
    for format_ in FORMATS:
        factory, accept = Image.OPEN[format_]
        known = accept(data[:_PREFIX_BYTES]) if accept is not None else True
        if not known or isinstance(known, str):  # a string says why Pillow was built without it
            continue
        try:
            opened = factory(BytesIO(data), "")
        except Exception as error:  # plugins raise whatever they stumble over
            raise TruncatedImageError(
                f"{name} begins like a {format_} picture, but its header ends early or is "
                f"damaged ({_reason(error)})"
            ) from error
        return opened
    raise UnknownFormatError(
        f"{name} is no picture that restora reads ({', '.join(FORMATS)}); it begins with "
        f"{data[:8]!r}"
    )


def check_header(image: ImageFile.ImageFile, limits: PixelLimits, *, name: str) -> None:
    """Raise ImageTooLargeError or AnimatedImageError before anything is decoded."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"{name} is {width} x {height} = {width * height / 1e6:.0f} MP, the limit is "
            f"{limits.max_pixels / 1e6:g}: raise it with max_pixels (--max-pixels) if the file "
            "can be trusted"
        )
    if image.format == "MPO":  # a phone's photo with a depth map or preview behind it
        return
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception as error:  # as above: counting frames reads on in the file
        raise TruncatedImageError(f"{name} is damaged ({_reason(error)})") from error
    if frames > 1:
        raise AnimatedImageError(
            f"{name} holds {frames} frames or pages, and a photo is one: take them apart first"
        )


def bits_of(image: ImageFile.ImageFile, data: bytes) -> int:
    """Bits per channel as stored: what Pillow shows as 8 may be 16."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        stored = image.tag_v2.get(258, 1)  # type: ignore[attr-defined]
        return max(stored) if isinstance(stored, tuple) else int(stored)
    if image.format == "PPM":
        return 16 if ppm_white(data) > 255 else 8
    return 8


def ppm_white(data: bytes) -> int:
    """The value that means white in a PNM file; 1 for bitmaps."""
    tokens = b" ".join(line.partition(b"#")[0] for line in data[:1024].splitlines()[:64]).split()
    if tokens[:1] in ([b"P1"], [b"P4"]) or len(tokens) < 4:
        return 1
    return int(tokens[3]) if tokens[3].isdigit() else 255


def _reason(error: Exception) -> str:
    if isinstance(error, struct.error):
        return "it ends inside a number"
    return str(error) or type(error).__name__

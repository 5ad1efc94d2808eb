"""Decode a picture file into an upright Photo, or say exactly why not."""

import logging
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile

from restora.errors import ImageError, TruncatedImageError, UnsupportedImageError
from restora.image.deep import decode_deep
from restora.image.header import PixelLimits, bits_of, check_header, open_header
from restora.image.metadata import read_metadata
from restora.image.orientation import turn_upright
from restora.image.photo import Metadata, Photo

logger = logging.getLogger(__name__)

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def read_photo(path: Path | str, *, limits: PixelLimits | None = None) -> Photo:
    """Read one picture file. What it is, its content decides, not its name.

    Raises ImageError: UnknownFormatError, TruncatedImageError, ImageTooLargeError,
    AnimatedImageError or UnsupportedImageError; plain ImageError if the file cannot be read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error
    return decode_photo(data, limits=limits, name=str(path))


def decode_photo(data: bytes, *, limits: PixelLimits | None = None, name: str = "image") -> Photo:
    """Decode one picture held in memory; see read_photo.

    Orientation is applied. CMYK becomes RGB through its ICC profile; palettes become RGB; one-bit
    pictures become grey. 16-bit PNG, TIFF and PNM keep all their bits.
    """
    image = open_header(data, name=name)
    check_header(image, limits or PixelLimits(), name=name)
    metadata, orientation = read_metadata(image)
    kind = image.format
    if kind == "MPO":
        logger.warning("%s holds several pictures; the first one is taken", name)
    bits = bits_of(image, data)
    _check_depth(image, bits, name)
    _load(image, name)
    if bits == 16:
        photo = decode_deep(data, image, metadata, orientation, name=name)
    else:
        # Pillow has turned TIFF pictures already
        photo = _photo_from_image(image, metadata, 1 if kind == "TIFF" else orientation)
    image.close()
    return photo


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """Facts about an upright picture that need no decoding. bits: of a channel as it is kept, 8 or
    16; channels: transparency is one."""

    width: int
    height: int
    format: str
    channels: int = 3
    bits: int = 8


def probe_photo(data: bytes, *, name: str = "image") -> PhotoHeader:
    """From the first bytes of a file. Raises UnknownFormatError or TruncatedImageError."""
    image = open_header(data, name=name)
    _, orientation = read_metadata(image)
    width, height = image.size
    if image.format == "TIFF":  # whether Pillow has turned the size already depends on its version
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = int(tags[256]), int(tags[257])
    if orientation >= 5:
        width, height = height, width
    channels = 1 if image.mode in _GREY else 3
    channels += image.mode in _WITH_ALPHA or image.has_transparency_data
    bits = 16 if bits_of(image, data) == 16 else 8
    return PhotoHeader(width, height, str(image.format), channels, bits)


def _check_depth(image: ImageFile.ImageFile, bits: int, name: str) -> None:
    sample_format = 1
    if image.format == "TIFF":
        stored = image.tag_v2.get(339, 1)  # type: ignore[attr-defined]
        sample_format = max(stored) if isinstance(stored, tuple) else int(stored)
    if bits > 16 or sample_format != 1 or image.mode == "F":
        raise UnsupportedImageError(
            f"{name} must have unsigned channels of at most 16 bits, it has {bits} bits "
            f"({'float or signed' if sample_format != 1 or image.mode == 'F' else image.mode})"
        )


def _load(image: ImageFile.ImageFile, name: str) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # plugins raise whatever they stumble over
        raise TruncatedImageError(
            f"{name} ends early or is damaged: {str(error) or type(error).__name__}"
        ) from error


def _photo_from_image(image: ImageFile.ImageFile, metadata: Metadata, orientation: int) -> Photo:
    kind = image.format
    picture: Image.Image = image
    if picture.mode == "CMYK":
        picture = _rgb_from_cmyk(picture, metadata.icc)
        metadata = Metadata(None, metadata.exif, metadata.xmp)
    elif picture.mode in _WITH_ALPHA or picture.has_transparency_data:
        is_grey = picture.mode in ("1", "L", "LA", "La")
        picture = picture.convert("LA" if is_grey else "RGBA")
    elif picture.mode in ("1", "L"):
        picture = picture.convert("L")
    else:  # RGB, RGBX, P, YCbCr, LAB, HSV
        picture = picture.convert("RGB")
    array = turn_upright(np.asarray(picture), orientation)
    if picture.mode in ("LA", "RGBA"):
        colour = array[..., 0] if picture.mode == "LA" else array[..., :3]
        alpha = np.ascontiguousarray(array[..., -1])
        return Photo(np.ascontiguousarray(colour), alpha, metadata, kind)
    return Photo(array, None, metadata, kind)


def _rgb_from_cmyk(picture: Image.Image, icc: bytes | None) -> Image.Image:
    """To sRGB through the file's own profile; plainly if it has none or a broken one."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, profile, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError) as error:
            logger.warning("the CMYK profile cannot be used, colours are approximate: %s", error)
    return picture.convert("RGB")

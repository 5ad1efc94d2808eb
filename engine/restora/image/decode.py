"""Decode a picture file into an upright Photo, or say exactly why not."""

from __future__ import annotations

import logging
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile

from restora.errors import FileTooLargeError, TruncatedImageError, UnsupportedImageError
from restora.image.file import read_file
from restora.image.guard import file_errors
from restora.image.header import check_single, check_size, find_webp_size, is_tiff, open_header
from restora.image.ifd import structure_of
from restora.image.limits import PhotoLimits
from restora.image.metadata import read_metadata, read_tiff_metadata
from restora.image.orientation import turn_upright
from restora.image.photo import Metadata, Photo, Pixels
from restora.image.pnm import decode_deep_pnm, read_pnm_header
from restora.image.probe import bits_of_avif, bits_of_png, has_transparency
from restora.image.tiff_header import CMYK, read_tiff_facts

logger = logging.getLogger(__name__)

_CANVAS_BYTES = 32
_START_OF_SCAN = b"\xff\xda"  # inside a scan, 0 follows each 255
_MAX_SCANS = 100  # progressive files have about ten


def read_photo(path: Path | str, *, limits: PhotoLimits | None = None) -> Photo:
    """Read one picture file. Its content decides what it is, not its name.

    Raises ImageError: NotAFileError, FileTooLargeError, and what decode_photo raises; plain
    ImageError if the file cannot be read.
    """
    return decode_photo(read_file(path, limits), limits=limits, name=str(path))


def decode_photo(data: bytes, *, limits: PhotoLimits | None = None, name: str = "image") -> Photo:
    """Decode one picture held in memory.

    Orientation is applied. CMYK becomes RGB through its ICC profile; palettes become RGB; one-bit
    pictures become gray. PNG, TIFF and PNM keep up to 16 bits; 9 to 15 are spread over 16.

    The header is judged before a decoder runs. What a decoder itself takes of memory and time for a
    hostile file is bounded by read_isolated, which decodes in a child process, and not here.

    Raises ImageError: UnknownFormatError, UnsupportedImageError, TruncatedImageError,
    ImageTooLargeError, FileTooLargeError, MemoryLimitError or AnimatedImageError.
    """
    limits = limits or PhotoLimits()
    if len(data) > limits.max_file_bytes:
        raise FileTooLargeError(
            f"{name} has {len(data)} bytes, the limit is {limits.max_file_bytes} (max_file_bytes)"
        )
    with file_errors(name):
        decode = _decode_tiff if is_tiff(data) else _decode_other
        return decode(data, limits, name)


def _decode_tiff(data: bytes, limits: PhotoLimits, name: str) -> Photo:
    structure = structure_of(data)
    facts = read_tiff_facts(structure, name=name)
    check_size(facts.width, facts.height, limits, name=name)
    metadata = read_tiff_metadata(structure, facts.entries, name)
    from restora.image.tiff_pixels import decode_tiff_pixels  # tifffile, for TIFF only

    pixels = decode_tiff_pixels(data, facts, name=name)
    colors, alpha = pixels.colors, pixels.alpha
    if facts.photometric == CMYK:
        image = Image.fromarray(colors, "CMYK")
        colors = np.asarray(_rgb_from_cmyk(image, metadata.icc, name))
        metadata = replace(metadata, icc=None)
    colors = turn_upright(colors, facts.orientation)
    return Photo(colors, _turn(alpha, facts.orientation), metadata, "TIFF")


def _decode_other(data: bytes, limits: PhotoLimits, name: str) -> Photo:
    canvas = find_webp_size(data[:_CANVAS_BYTES])
    if canvas is not None:
        check_size(*canvas, limits, name=name)
    with open_header(data, name=name) as image:
        check_size(*image.size, limits, name=name)
        check_single(image, name=name)
        kind, size = image.format, image.size
        if kind == "MPO":
            logger.warning("%s holds several pictures; the first one is used", name)
        if kind in ("JPEG", "MPO"):
            _check_scans(data, name)
        metadata, orientation = read_metadata(image)
        if kind == "PPM" and (header := read_pnm_header(data)) and header.white > 255:
            stored = _split(decode_deep_pnm(data, header, name=name))
        elif kind == "PNG" and bits_of_png(data) == 16:
            stored = _split(_decode_deep_png(data, name))
        else:
            _check_depth(image, data, name)
            transparent = has_transparency(image)
            image.load()
            stored, metadata = _split_image(image, metadata, transparent, name)
    colors, alpha = stored
    if colors.shape[1::-1] != size:
        raise TruncatedImageError(
            f"{name} is damaged: its header says {size[0]} x {size[1]}, its pixels are "
            f"{colors.shape[1]} x {colors.shape[0]}"
        )
    return Photo(turn_upright(colors, orientation), _turn(alpha, orientation), metadata, kind)


def _check_scans(data: bytes, name: str) -> None:
    """Each scan of a progressive JPEG costs a pass over all pixels, and may be a few bytes long."""
    scans = data.count(_START_OF_SCAN)
    if scans > _MAX_SCANS:
        raise UnsupportedImageError(
            f"{name} must have at most {_MAX_SCANS} scans, as JPEG files of all known writers do, "
            f"it has {scans}"
        )


def _check_depth(image: ImageFile.ImageFile, data: bytes, name: str) -> None:
    if image.mode == "F":
        raise UnsupportedImageError(
            f"{name} must have unsigned channels of at most 16 bits, it has floating-point ones"
        )
    if image.mode.startswith("I"):  # deep pictures are decoded elsewhere: its headers disagree
        raise TruncatedImageError(f"{name} is damaged: its headers disagree about its depth")
    if image.format == "AVIF" and (bits := bits_of_avif(data)) > 8:
        logger.warning("%s has %d bits per channel; 8 of them are used", name, bits)


def _decode_deep_png(data: bytes, name: str) -> Pixels:
    import imagecodecs  # Pillow and OpenCV lose transparency of 16-bit gray

    pixels = np.asarray(imagecodecs.png_decode(data))
    if pixels.dtype != np.uint16:
        raise UnsupportedImageError(f"{name}: 16 bits are expected, libpng reads {pixels.dtype}")
    return pixels


def _split_image(
    image: ImageFile.ImageFile, metadata: Metadata, transparent: bool, name: str
) -> tuple[tuple[Pixels, Pixels | None], Metadata]:
    """Colors and alpha of a picture of 8 bits that Pillow has loaded."""
    picture: Image.Image = image
    if not transparent:
        picture.info.pop("transparency", None)
    if picture.mode == "CMYK":
        picture = _rgb_from_cmyk(picture, metadata.icc, name)
        metadata = replace(metadata, icc=None)
    elif transparent:
        is_gray = picture.mode in ("1", "L", "LA", "La")
        picture = picture.convert("LA" if is_gray else "RGBA")
    elif picture.mode in ("1", "L"):
        picture = picture.convert("L")
    else:  # RGB, RGBX, P, YCbCr, HSV
        picture = picture.convert("RGB")
    return _split(np.asarray(picture)), metadata


def _split(array: Pixels) -> tuple[Pixels, Pixels | None]:
    """(h, w), or (h, w, c) of gray and alpha, RGB, or RGB and alpha -> colors, alpha."""
    if array.ndim == 2 or array.shape[2] == 3:
        return array, None
    colors = array[..., 0] if array.shape[2] == 2 else array[..., :3]
    return np.ascontiguousarray(colors), np.ascontiguousarray(array[..., -1])


def _turn(alpha: Pixels | None, orientation: int) -> Pixels | None:
    return None if alpha is None else turn_upright(alpha, orientation)


def _rgb_from_cmyk(picture: Image.Image, icc: bytes | None, name: str) -> Image.Image:
    """To sRGB through the file's own profile; plainly if it has none or a broken one."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, profile, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError) as error:
            logger.warning(
                "%s: its CMYK profile is broken, colors are approximate: %s", name, error
            )
    return picture.convert("RGB")

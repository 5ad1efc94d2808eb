"""Carry ICC, EXIF and XMP from an opened file to a Photo."""

import logging

from PIL import Image, ImageFile

from restora.image.orientation import find_orientation, reset_orientation, reset_xmp_orientation
from restora.image.photo import Metadata

logger = logging.getLogger(__name__)

EXIF_PREFIX = b"Exif\0\0"
# tags of a TIFF file that say how its pixels are stored, not what the picture is
_STRUCTURAL = {
    254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 317, 320,
    322, 323, 324, 325, 330, 338, 339, 347, 529, 530, 531, 532, 700, 33723, 34377, 34675,
}  # fmt: skip


def read_metadata(image: ImageFile.ImageFile) -> tuple[Metadata, int]:
    """The metadata, its orientation reset, and the orientation that it had.

    Must be called before the pixels are loaded. Broken blocks are dropped with a warning.
    """
    exif = _exif_bytes(image)
    orientation = 1
    if exif is not None:
        orientation = find_orientation(exif)
        exif = reset_orientation(exif)
    if image.format == "TIFF":
        orientation = int(image.tag_v2.get(274, 1) or 1)  # type: ignore[attr-defined]
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    icc = image.info.get("icc_profile")
    metadata = Metadata(
        icc=bytes(icc) if icc else None,
        exif=exif,
        xmp=reset_xmp_orientation(bytes(xmp)) if xmp else None,
    )
    return metadata, orientation if 1 <= orientation <= 8 else 1


def _exif_bytes(image: ImageFile.ImageFile) -> bytes | None:
    try:
        if image.format == "TIFF":
            return _exif_of_tiff(image)
        exif = image.info.get("exif")
    except Exception as error:  # noqa: BLE001  # EXIF in the wild is broken in every way
        logger.warning("the EXIF block is broken and dropped: %s", error)
        return None
    return bytes(exif).removeprefix(EXIF_PREFIX) or None if exif else None


def _exif_of_tiff(image: ImageFile.ImageFile) -> bytes | None:
    """A TIFF file keeps what others keep in an EXIF block among its own tags."""
    source, kept = image.getexif(), Image.Exif()
    for tag, value in source.items():
        if tag not in _STRUCTURAL:
            kept[tag] = source.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    if not kept:
        return None
    return kept.tobytes().removeprefix(EXIF_PREFIX)

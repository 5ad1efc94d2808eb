"""Carry ICC, EXIF and XMP from a file to a Photo."""

from __future__ import annotations

import logging
import re
from typing import Any

from PIL import ImageFile

from restora.image.exif import exif_from_tiff, find_orientation, reset_orientation
from restora.image.ifd import Entry, IfdError, Structure
from restora.image.photo import Metadata

logger = logging.getLogger(__name__)

EXIF_PREFIX = b"Exif\0\0"
_XMP_TAG, _ICC_TAG = 700, 34675
_BYTES = (1, 7)  # BYTE and UNDEFINED
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)[1-8]")


def read_metadata(image: ImageFile.ImageFile) -> tuple[Metadata, int]:
    """The metadata of a file that Pillow has opened, its orientation reset, and the orientation
    that it had, 1..8.

    Must be called before the pixels are loaded. Blocks that are no bytes are dropped.
    """
    exif = _bytes_of(image.info.get("exif")).removeprefix(EXIF_PREFIX) or None
    orientation = 1
    if exif is not None:
        orientation = find_orientation(exif)
        exif = reset_orientation(exif)
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    metadata = Metadata(
        icc=_bytes_of(image.info.get("icc_profile")) or None,
        exif=exif,
        xmp=reset_xmp_orientation(_bytes_of(xmp)) or None,
    )
    return metadata, orientation


def read_tiff_metadata(structure: Structure, entries: dict[int, Entry], name: str) -> Metadata:
    """The same of a TIFF file, which keeps EXIF among its own tags.

    Broken blocks are dropped with a warning.
    """
    try:
        exif = exif_from_tiff(structure)
    except IfdError as error:
        logger.warning("%s: its EXIF tags are broken and dropped: %s", name, error)
        exif = None
    return Metadata(
        icc=_block(structure, entries.get(_ICC_TAG), "ICC profile", name),
        exif=exif,
        xmp=reset_xmp_orientation(
            _block(structure, entries.get(_XMP_TAG), "XMP packet", name) or b""
        )
        or None,
    )


def reset_xmp_orientation(xmp: bytes) -> bytes:
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def _block(structure: Structure, entry: Entry | None, what: str, name: str) -> bytes | None:
    if entry is None:
        return None
    if entry.kind not in _BYTES:
        logger.warning("%s: its %s is no string of bytes and is dropped", name, what)
        return None
    try:
        return structure.value(entry) or None
    except IfdError as error:
        logger.warning("%s: its %s is damaged and dropped: %s", name, what, error)
        return None


def _bytes_of(value: Any) -> bytes:
    """Nothing for what is no bytes: bytes(3_000_000_000) would be as many zeros."""
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else b""

"""Write TIFF files of 8 and 16 bits with their metadata.

Pillow writes no 16-bit color, and tifffile drops the directories of EXIF and GPS (it refuses tags
34665 and 34853).
"""

import logging
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from restora.image.exif import is_sound
from restora.image.metadata import EXIF_PREFIX
from restora.image.photo import Metadata, Photo

logger = logging.getLogger(__name__)

_DEFLATE, _PREDICT_DIFFERENCE = 8, 2
_GRAY, _RGB = 1, 2


def encode_tiff(photo: Photo, metadata: Metadata) -> bytes:
    """The TIFF file of a photo: one strip, deflated."""
    channels = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
    if photo.alpha is not None:
        # few readers know 16-bit gray with alpha in TIFF
        if photo.is_gray and photo.pixels.dtype == np.uint16:
            channels = np.repeat(channels, 3, axis=2)
        channels = np.concatenate((channels, photo.alpha[..., None]), axis=2)
    height, width, count = channels.shape
    strip = _compress(channels)
    directory = ImageFileDirectory_v2(prefix=b"II")
    if metadata.exif:
        _copy_exif(directory, metadata.exif)
    directory[256], directory[257] = width, height
    directory[258] = (8 * channels.itemsize,) * count
    directory[259] = _DEFLATE
    directory[262] = _GRAY if count < 3 else _RGB
    directory[273], directory[279] = 0, len(strip)  # Pillow makes the offset right when saving
    directory[277], directory[278] = count, height
    directory[284] = 1
    directory[317] = _PREDICT_DIFFERENCE
    if photo.alpha is not None:
        directory[338] = 2  # alpha not multiplied into the colors
    directory[339] = (1,) * count
    if metadata.xmp:
        directory[700] = metadata.xmp
        directory.tagtype[700] = TiffTags.BYTE
    if metadata.icc:
        directory[34675] = metadata.icc
    stream = BytesIO()
    directory.save(stream)
    stream.write(strip)
    return stream.getvalue()


def _compress(channels: np.ndarray) -> bytes:
    little = channels.astype(channels.dtype.newbyteorder("<"))
    little[:, 1:] -= little[:, :-1].copy()
    return zlib.compress(little.tobytes(), 1)


def _copy_exif(directory: ImageFileDirectory_v2, block: bytes) -> None:
    """A TIFF file keeps EXIF among its own tags."""
    if not is_sound(block):
        logger.warning("the EXIF block is broken and was not copied")
        return
    exif = Image.Exif()
    try:
        exif.load(EXIF_PREFIX + block)
        for tag in exif:
            is_group = tag in TiffTags.TAGS_V2_GROUPS
            directory[tag] = exif.get_ifd(tag) if is_group else exif[tag]
    except Exception as error:  # noqa: BLE001  # EXIF in the wild is broken in every way
        logger.warning("the EXIF block is broken and was not copied whole: %s", error)

"""Guarded picture files: one decoder, one encoder, nothing half-read and nothing half-written."""

from restora.image.atomic import remove_partial, write_atomically
from restora.image.compare import make_comparison
from restora.image.decode import PhotoHeader, decode_photo, probe_photo, read_photo
from restora.image.encode import encode_photo, write_photo
from restora.image.header import PixelLimits
from restora.image.photo import Metadata, Photo, Pixels

__all__ = [
    "Metadata",
    "Photo",
    "PhotoHeader",
    "PixelLimits",
    "Pixels",
    "decode_photo",
    "encode_photo",
    "make_comparison",
    "probe_photo",
    "read_photo",
    "remove_partial",
    "write_atomically",
    "write_photo",
]

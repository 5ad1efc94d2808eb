"""Guarded picture files: one decoder, one encoder, nothing half-read and nothing half-written."""

from restora.image.decode import decode_photo, read_photo
from restora.image.encode import encode_photo, write_photo
from restora.image.limits import PhotoLimits
from restora.image.photo import Metadata, Photo, Pixels
from restora.image.probe import PhotoHeader, probe_file, probe_photo, sniff_file

__all__ = [
    "Metadata",
    "Photo",
    "PhotoHeader",
    "PhotoLimits",
    "Pixels",
    "decode_photo",
    "encode_photo",
    "probe_file",
    "probe_photo",
    "read_photo",
    "sniff_file",
    "write_photo",
]

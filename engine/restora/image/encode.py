"""Encode a Photo and write it; what a format cannot hold is an error, never silently dropped."""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from restora.atomic import write_atomically
from restora.errors import OptionError
from restora.image.metadata import EXIF_PREFIX
from restora.image.photo import Metadata, Photo
from restora.image.png import encode_png, iter_png
from restora.image.tiff import encode_tiff

Format = Literal["png", "jpg", "webp", "tiff"]

_EXTENSIONS: dict[str, Format] = {
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".jpe": "jpg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_LONGEST_SIDE = {"jpg": 65535, "webp": 16383}


def write_photo(
    photo: Photo,
    path: Path | str,
    *,
    format: Format | None = None,  # noqa: A002
    quality: int = 95,
    strip_metadata: bool = False,
    inside: Path | None = None,
) -> None:
    """Write a photo to `path`, whole or not at all.

    format: default: by the ending of `path`
    inside: a folder that the file must lie in after links are resolved

    Raises OptionError if the format cannot hold this photo, and what write_atomically raises.
    """
    path = Path(path)
    chosen = format or _EXTENSIONS.get(path.suffix.lower())
    if chosen is None:
        raise OptionError(
            f"the output's ending must be one of {', '.join(_EXTENSIONS)}, got {path.name!r}"
        )
    if chosen == "png":
        metadata = Metadata() if strip_metadata else photo.metadata
        write_atomically(path, iter_png(photo, metadata), inside=inside)
        return
    data = encode_photo(photo, format=chosen, quality=quality, strip_metadata=strip_metadata)
    write_atomically(path, data, inside=inside)


def encode_photo(
    photo: Photo,
    *,
    format: Format,  # noqa: A002
    quality: int = 95,
    strip_metadata: bool = False,
) -> bytes:
    """The bytes of a picture file.

    quality: 1..100, for jpg and webp

    Raises OptionError if the format cannot hold this photo.
    """
    if format not in get_args(Format):
        raise OptionError(
            f"the format must be one of {', '.join(get_args(Format))}, got {format!r}"
        )
    if not 1 <= quality <= 100:
        raise OptionError(f"quality must be in 1..100, got {quality}")
    _check_fits(photo, format)
    metadata = Metadata() if strip_metadata else photo.metadata
    if format == "tiff":
        return encode_tiff(photo, metadata)
    if format == "png":
        return encode_png(photo, metadata)
    image = _image_from_photo(photo)
    exif = EXIF_PREFIX + metadata.exif if metadata.exif else b""
    options: dict[str, Any]
    if format == "jpg":
        options = {"format": "JPEG", "quality": quality, "subsampling": "4:4:4"}
        options |= {"xmp": metadata.xmp} if metadata.xmp else {}
    else:
        options = {"format": "WEBP", "quality": quality, "method": 2, "xmp": metadata.xmp or b""}
    stream = BytesIO()
    try:
        image.save(stream, exif=exif, icc_profile=metadata.icc, **options)
    except ValueError as error:
        raise OptionError(
            f"the metadata does not fit into a {format} file ({error}): write png or tiff, or "
            "drop it with strip_metadata (--strip-metadata)"
        ) from error
    return stream.getvalue()


def _check_fits(photo: Photo, format_: Format) -> None:
    if format_ == "jpg" and photo.alpha is not None:
        raise OptionError("jpg holds no transparency: write png, webp or tiff (--ext)")
    if format_ in ("jpg", "webp") and photo.pixels.dtype == np.uint16:
        raise OptionError(f"{format_} holds 8 bits and the photo has 16: write png or tiff (--ext)")
    longest = _LONGEST_SIDE.get(format_)
    if longest is not None and max(photo.width, photo.height) > longest:
        raise OptionError(
            f"{format_} holds at most {longest} pixels a side, the photo is "
            f"{photo.width} x {photo.height}: write png or tiff (--ext)"
        )


def _image_from_photo(photo: Photo) -> Image.Image:
    if photo.alpha is None:
        return Image.fromarray(photo.pixels)
    bands = np.dstack((photo.pixels, photo.alpha))
    return Image.fromarray(bands)

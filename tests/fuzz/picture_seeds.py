"""Small pictures of every kind that people have: formats, modes, depths, compressions, layouts."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fuzz.png import make_png

_SIZE = (24, 16)  # width, height
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def make_pictures() -> dict[str, bytes]:
    """By name; the name says what the kind is."""
    return dict(
        [*_jpegs(), *_pngs(), *_webps(), *_tiffs_of_pillow(), *_tiffs(), *_bitmaps(), *_others()]
    )


Named = Iterator[tuple[str, bytes]]


def _jpegs() -> Named:
    yield "jpeg-baseline", _save("JPEG")
    yield "jpeg-progressive", _save("JPEG", progressive=True)
    yield "jpeg-gray", _save("JPEG", "L")
    yield "jpeg-cmyk", _save("JPEG", "CMYK")
    yield "jpeg-cmyk-icc", _save("JPEG", "CMYK", icc_profile=_profile())
    yield "jpeg-420-restart", _encode_cv(".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    yield "jpeg-444", _save("JPEG", subsampling=0)
    yield "jpeg-optimized", _save("JPEG", optimize=True, quality=30)
    yield "jpeg-turned", _save("JPEG", exif=_exif(6), icc_profile=_profile())
    yield "jpeg-xmp", _save("JPEG", xmp=_XMP, comment=b"a comment", dpi=(72, 72))
    yield "mpo", _save("MPO", save_all=True, append_images=[_picture("RGB", 3)])


def _pngs() -> Named:
    for color, depths in {
        0: (1, 2, 4, 8, 16),
        2: (8, 16),
        3: (1, 2, 4, 8),
        4: (8, 16),
        6: (8, 16),
    }.items():
        for depth in depths:
            yield f"png-{color}-{depth}", make_png(color, depth)
    for color, depth in ((0, 1), (2, 8), (3, 4), (6, 16)):
        yield f"png-{color}-{depth}-interlaced", make_png(color, depth, interlaced=True)
    yield "png-gray-trns", make_png(0, 8, before=((b"tRNS", b"\0\7"),))
    yield "png-gray-16-trns", make_png(0, 16, before=((b"tRNS", b"\x13\x8b"),))
    yield "png-rgb-trns", make_png(2, 8, before=((b"tRNS", b"\0\1\0\2\0\3"),))
    yield "png-palette-trns", make_png(3, 8, before=((b"tRNS", b"\0\x80"),))
    profile = b"sRGB\0\0" + zlib.compress(_profile())
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP
    blocks = ((b"iCCP", profile), (b"eXIf", _exif(8)), (b"gAMA", b"\0\0\xb1\x8f"), (b"iTXt", text))
    yield "png-blocks", make_png(2, 8, before=blocks, after=((b"tEXt", b"Comment\0words"),))
    yield "apng", _several("PNG")


def _webps() -> Named:
    yield "webp-lossy", _save("WEBP")
    yield "webp-lossless", _save("WEBP", lossless=True)
    yield "webp-alpha", _save("WEBP", "RGBA")
    yield "webp-blocks", _save("WEBP", exif=_exif(3), xmp=_XMP, icc_profile=_profile())
    yield "webp-animated", _several("WEBP")


def _tiffs_of_pillow() -> Named:
    for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff-pillow-{name}", _save("TIFF", compression=name)
    for name in ("group3", "group4"):
        yield f"tiff-pillow-{name}", _save("TIFF", "1", compression=name)
    for mode in ("L", "LA", "P", "CMYK", "I;16", "1", "YCbCr", "LAB"):
        yield f"tiff-pillow-mode-{mode.replace(';', '')}", _save("TIFF", mode)
    blocks = {"exif": _exif(5), "icc_profile": _profile(), "tiffinfo": {700: _XMP, 270: "words"}}
    yield "tiff-pillow-blocks", _save("TIFF", **blocks)
    yield "tiff-pillow-pages", _several("TIFF")


def _tiffs() -> Named:
    deep, wide = _array(np.uint16), {"compression": "zlib", "predictor": True}
    yield "tiff-16-planar", _tiff(np.moveaxis(deep, 2, 0), planarconfig="separate")
    yield "tiff-16-planar-zlib", _tiff(np.moveaxis(deep, 2, 0), planarconfig="separate", **wide)
    yield "tiff-16-zlib-predictor", _tiff(deep, **wide)
    yield "tiff-16-lzw", _tiff(deep, compression="lzw")
    yield "tiff-16-big-endian", _tiff(deep, byteorder=">")
    yield "tiff-16-bigtiff", _tiff(deep, bigtiff=True)
    yield "tiff-16-bigtiff-tiled", _tiff(deep, bigtiff=True, tile=(16, 16))
    yield "tiff-16-rgba", _tiff(_array(np.uint16, 4), extrasamples=["unassalpha"])
    yield "tiff-16-premultiplied", _tiff(_array(np.uint16, 4), extrasamples=["assocalpha"])
    yield "tiff-8-premultiplied", _tiff(_array(np.uint8, 4), extrasamples=["assocalpha"])
    yield "tiff-8-planar", _tiff(np.moveaxis(_array(np.uint8), 2, 0), planarconfig="separate")
    yield "tiff-8-tiled", _tiff(_array(np.uint8), tile=(16, 16), compression="zlib")
    yield "tiff-8-tiled-jpeg", _tiff(_array(np.uint8), tile=(16, 16), compression="jpeg")
    yield "tiff-8-strips", _tiff(_array(np.uint8), rowsperstrip=3)
    yield "tiff-gray-16", _tiff(deep[..., 0])
    yield "tiff-gray-16-white-is-zero", _tiff(deep[..., 0], photometric="miniswhite")
    yield "tiff-gray-8-white-is-zero", _tiff(_array(np.uint8)[..., 0], photometric="miniswhite")
    yield "tiff-gray-12", _tiff_12(1)
    yield "tiff-rgb-12", _tiff_12(3)
    yield "tiff-cmyk-16", _tiff(_array(np.uint16, 4), photometric="separated")
    palette = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 80
    gray = _array(np.uint8)[..., 0]
    yield "tiff-palette", _tiff(gray, photometric="palette", colormap=palette)
    yield "tiff-float", _tiff(_array(np.float32))
    yield "tiff-signed", _tiff(_array(np.int16))
    yield "tiff-32", _tiff(_array(np.uint32)[..., 0])
    yield "tiff-bilevel", _tiff(gray > 100, photometric="minisblack")
    yield "tiff-gray-16-turned", _tiff(deep[..., 0], extratags=[(274, 3, 1, 6, True)])
    profile = (34675, 7, len(_profile()), _profile(), True)
    yield "tiff-16-blocks", _tiff(deep, extratags=[profile, (700, 1, len(_XMP), _XMP, True)])
    yield "tiff-zstd", _tiff(deep, compression="zstd")
    yield "tiff-lzma", _tiff(deep, compression="lzma")
    yield "tiff-jpeg2000", _tiff(_array(np.uint8), compression="jpeg2000")


def _bitmaps() -> Named:
    for mode in ("RGB", "RGBA", "L", "P", "1"):
        yield f"bmp-{mode}", _save("BMP", mode)
    yield "bmp-rle8", _bmp(8, 1, b"\x04\x01\x00\x00" * 8 + b"\x00\x01")
    yield "bmp-rle4", _bmp(4, 2, b"\x04\x12\x00\x00" * 8 + b"\x00\x01")
    yield "bmp-555", _bmp(16, 0, bytes(range(64)))
    yield "bmp-fields", _bmp(16, 3, bytes(range(64)), masks=(0xF800, 0x07E0, 0x001F))
    yield "gif", _save("GIF", "P")
    yield "gif-transparent", _save("GIF", "P", transparency=3, interlace=1)
    yield "gif-animated", _several("GIF")


def _others() -> Named:
    yield "pnm-p1", b"P1\n# bits\n4 2\n0 1 0 1\n1 0 1 0\n"
    yield "pnm-p2", b"P2 3 2 255\n0 50 100\n150 200 255\n"
    yield "pnm-p3", b"P3\n2 1\n1023\n0 512 1023 1 2 3\n"
    yield "pnm-p4", b"P4 12 2\n\xa0\x50\xff\x00"
    yield "pnm-p5", b"P5\n# words\n4 2 255\n" + bytes(range(8))
    yield "pnm-p5-16", b"P5 4 2 65535\n" + bytes(range(16))
    yield "pnm-p5-10", b"P5 4 2 1023\n" + bytes((3, 255)) * 8
    yield "pnm-p6", _save("PPM")
    yield "pnm-p6-16", b"P6 2 2 65535\n" + bytes(range(24))
    yield "pnm-long-comment", b"P6\n#" + b"c" * 2000 + b"\n2 2 65535\n" + bytes(range(24))
    yield "pam", b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n12345678"
    yield "pfm", b"PF\n2 1\n-1.0\n" + struct.pack("<6f", *range(6))
    yield "avif", _save("AVIF")
    yield "avif-alpha", _save("AVIF", "RGBA", exif=_exif(6))
    yield "avif-animated", _several("AVIF")
    yield "no-picture", b"%PDF-1.7 words and more words"
    yield "empty", b""


def _picture(mode: str = "RGB", seed: int = 1) -> Image.Image:
    picture = Image.fromarray(_array(np.uint8, seed=seed))
    if mode == "I;16":
        return Image.fromarray(_array(np.uint16)[..., 0])
    if mode == "LAB":
        lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        return ImageCms.applyTransform(picture, lab) or picture
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(_array(np.uint8)[..., 1]))
    return picture.convert(mode)


def _array(dtype: type, channels: int = 3, seed: int = 1) -> NDArray[Any]:
    """A smooth picture with some noise, in the whole range of the type."""
    width, height = _SIZE
    y, x, channel = np.mgrid[0:height, 0:width, 0:channels]
    noise = np.random.default_rng(seed).random((height, width, channels))
    share = (x / width + y / height + channel / channels) / 3 * 0.9 + noise * 0.1
    top = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
    return (share * top).astype(dtype)


def _save(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    _picture(mode).save(stream, format_, **options)
    return stream.getvalue()


def _several(format_: str) -> bytes:
    others = [_picture("RGB", seed) for seed in (2, 3)]
    return _save(format_, save_all=True, append_images=others)


def _tiff(
    array: NDArray[Any], *, byteorder: str = "<", bigtiff: bool = False, **options: Any
) -> bytes:
    stream = io.BytesIO()
    is_gray = array.ndim == 2
    options.setdefault("photometric", "minisblack" if is_gray else "rgb")
    with tifffile.TiffWriter(stream, byteorder=byteorder, bigtiff=bigtiff) as writer:  # type: ignore[arg-type]
        writer.write(array, metadata=None, **options)
    return stream.getvalue()


def _tiff_12(channels: int) -> bytes:
    """12 bits a sample, packed: tifffile writes none, so a directory by hand."""
    width, height = 8, 4
    bits = np.random.default_rng(2).integers(0, 2, (height, width * channels * 12))
    pixels = np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    start = 8
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (259, 3, 1, 1)),
        *((262, 3, 1, 2 if channels == 3 else 1), (273, 4, 1, start), (277, 3, 1, channels)),
        *((278, 3, 1, height), (279, 4, 1, len(pixels))),
    ]
    extra = start + len(pixels)
    entries.append((258, 3, channels, extra if channels == 3 else 12))
    entries.sort()
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    more = struct.pack("<3H", 12, 12, 12)
    return struct.pack("<2sHI", b"II", 42, extra + len(more)) + pixels + more + directory


def _bmp(bits: int, compression: int, pixels: bytes, masks: tuple[int, ...] = ()) -> bytes:
    """4 x 8 pixels, behind a palette where there is one."""
    palette = bytes(range(4)) * (1 << bits) if bits <= 8 else b""
    fields = struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + 40 + len(fields) + len(palette)
    head = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    info = struct.pack(
        "<IiiHHIIiiII", 40, 4, 8, 1, bits, compression, len(pixels), 2835, 2835, 0, 0
    )
    return head + info + fields + palette + pixels


def _encode_cv(ending: str, options: list[int]) -> bytes:
    done, data = cv2.imencode(ending, _array(np.uint8), options)
    assert done
    return data.tobytes()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    exif[305] = "a fuzzer"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    return exif.tobytes()


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

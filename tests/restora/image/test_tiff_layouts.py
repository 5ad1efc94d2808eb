"""Every layout that TIFF knows for a picture decodes to the same values."""

import io
import itertools
import struct
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from restora.errors import (
    AnimatedImageError,
    ImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from restora.image import decode_photo, probe_photo
from restora.image.orientation import turn_upright
from tiff_files import build

HEIGHT, WIDTH = 37, 41
COMPRESSIONS = (None, "zlib", "lzw", "packbits", "zstd", "lzma")
RNG = np.random.default_rng(5)


def samples(bits: int, channels: int) -> np.ndarray:
    """Random values of so many bits, the extremes among them."""
    dtype = np.uint8 if bits <= 8 else np.uint16
    values = RNG.integers(0, 2**bits, (HEIGHT, WIDTH, channels), dtype)
    values[0, 0], values[0, 1] = 0, 2**bits - 1
    return values


def write(array: np.ndarray, *, separate: bool = False, **options: Any) -> bytes:
    stream = io.BytesIO()
    options.setdefault("photometric", "rgb" if array.shape[-1] >= 3 else "minisblack")
    if separate:
        array, options["planarconfig"] = np.moveaxis(array, -1, 0), "separate"
    elif array.shape[-1] == 1:
        array = array[..., 0]
    else:
        options["planarconfig"] = "contig"
    if "tile" not in options:
        options["rowsperstrip"] = 7
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def spread(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest values of 8 or 16 bits, counted in exact integers."""
    white = 255 if bits <= 8 else 65535
    least = 2**bits - 1
    wide = values.astype(np.int64)
    return (2 * wide * white + least) // (2 * least)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_layout_gives_the_values_that_were_written(bits: int, compression: Any) -> None:
    for channels, separate, tile, order, big in itertools.product(
        (1, 2, 3, 4), (False, True), (None, (16, 32)), "<>", (False, True)
    ):
        if separate and channels == 1:
            continue
        expected = samples(bits, channels)
        options: dict[str, Any] = {"byteorder": order, "bigtiff": big, "compression": compression}
        options |= {"tile": tile} if tile else {}
        options |= {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
        options |= {"predictor": 2} if compression in ("zlib", "lzw") else {}
        data = write(expected, separate=separate, **options)
        photo = decode_photo(data)
        colors = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
        assert photo.pixels.dtype == expected.dtype
        np.testing.assert_array_equal(colors, expected[..., : 3 if channels >= 3 else 1])
        if channels in (2, 4):
            assert photo.alpha is not None
            np.testing.assert_array_equal(photo.alpha, expected[..., -1])
        header = probe_photo(data)
        assert (header.width, header.height, header.channels) == (WIDTH, HEIGHT, channels)
        assert header.bits == bits


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 9, 10, 12, 14, 15])
@pytest.mark.parametrize(
    ("channels", "photometric"), [(1, "minisblack"), (1, "miniswhite"), (3, "rgb")]
)
def test_other_depths_are_spread_to_the_nearest_value(
    bits: int, channels: int, photometric: str
) -> None:
    stored = samples(bits, channels)
    data = write_packed(stored, bits, {"miniswhite": 0, "minisblack": 1, "rgb": 2}[photometric])
    photo = decode_photo(data)
    meant = 2**bits - 1 - stored if photometric == "miniswhite" else stored
    expected = spread(meant.astype(np.int64), bits)
    np.testing.assert_array_equal(photo.pixels, expected if channels == 3 else expected[..., 0])


def write_packed(values: np.ndarray, bits: int, photometric: int, order: str = "<") -> bytes:
    """An uncompressed file whose rows are packed bit by bit."""
    height, width, channels = values.shape
    planes = (values.reshape(height, -1, 1).astype(np.uint32) >> np.arange(bits)[::-1]) & 1
    strip = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    rows = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, [0]), (277, 3, [channels]), (278, 4, [height]),
        (279, 4, [len(strip)]),
    ]  # fmt: skip
    return build(rows, {273: strip}, order)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("separate", [False, True])
def test_premultiplied_colors_are_divided_by_their_alpha(
    bits: int, channels: int, separate: bool
) -> None:
    white = 2**bits - 1
    straight = samples(bits, channels)
    alpha = straight[..., -1:].astype(np.float64) / white
    stored = np.rint(straight * np.where(np.arange(channels) < channels - 1, alpha, 1))
    data = write(stored.astype(straight.dtype), separate=separate, extrasamples=["assocalpha"])
    photo = decode_photo(data)
    colors = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
    opaque = alpha[..., 0] > 0.5
    # rounding at half transparency is at most one level
    error = np.abs(colors.astype(int) - straight[..., : channels - 1])[opaque]
    assert error.max() <= 1
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, straight[..., -1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_orientation_is_applied_in_every_kind_of_file(
    orientation: int, big: bool, order: str, bits: int
) -> None:
    stored = samples(bits, 3)
    data = write(stored, bigtiff=big, byteorder=order, extratags=[(274, 3, 1, orientation, True)])
    photo = decode_photo(data)
    np.testing.assert_array_equal(photo.pixels, turn_upright(stored, orientation))
    header = probe_photo(data)
    assert (header.height, header.width) == photo.pixels.shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_what_pillow_writes_decodes_as_pillow_reads_it(mode: str, compression: str) -> None:
    image = Image.fromarray(samples(8, 3)).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression=compression)
    photo = decode_photo(stream.getvalue())
    expected = np.asarray(image.convert({"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)))
    got = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
    whole = got if photo.alpha is None else np.dstack((got, photo.alpha))
    np.testing.assert_array_equal(whole.reshape(expected.shape), expected)


@pytest.mark.parametrize("compression", ["group3", "group4"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_fax_pages_are_black_on_white(compression: str, white_is_zero: bool) -> None:
    image = Image.new("1", (64, 40), 1)
    image.paste(0, (10, 5, 30, 20))
    stream = io.BytesIO()
    options = {"tiffinfo": {262: 0}} if white_is_zero else {}
    image.save(stream, "TIFF", compression=compression, **options)
    reread = Image.open(io.BytesIO(stream.getvalue()))
    np.testing.assert_array_equal(
        decode_photo(stream.getvalue()).pixels, np.asarray(reread.convert("L"))
    )


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_in_tiff_decodes_as_pillow_reads_it(mode: str) -> None:
    smooth = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)
    image = Image.fromarray(smooth).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression="jpeg", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert(mode), int)
    # two libraries round color conversion apart
    assert np.abs(decode_photo(stream.getvalue()).pixels - expected).max() <= 2


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_opencv_writes_decodes(channels: int, bits: int) -> None:
    array = samples(bits, channels)
    written, data = cv2.imencode(".tiff", array)
    assert written
    photo = decode_photo(data.tobytes())
    expected = array[..., 0] if channels == 1 else array[..., 2::-1]
    np.testing.assert_array_equal(photo.pixels, expected)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_cut_file_never_gives_a_picture(bits: int, compression: Any, separate: bool) -> None:
    # the pixels come last in the file
    data = write(samples(bits, 3), separate=separate, compression=compression)
    for share in (0.2, 0.5, 0.9, 0.99):
        with pytest.raises(ImageError):
            decode_photo(data[: int(len(data) * share)])


def test_a_missing_strip_is_not_filled_in() -> None:
    array = samples(16, 3)
    data = bytearray(write(array, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        counts = file.pages[0].tags[279]
        place, kind = counts.valueoffset, {3: "<H", 4: "<I"}[int(counts.dtype)]
    struct.pack_into(kind, data, place, 0)
    with pytest.raises(TruncatedImageError, match="a strip or tile of 0 bytes"):
        decode_photo(bytes(data))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"dtype": np.float32}, "floating-point"),
        ({"dtype": np.uint32}, "at most 16 bits"),
        ({"dtype": np.int16}, "signed"),
        ({"dtype": np.uint16, "photometric": "separated", "channels": 4}, "CMYK with 16 bits"),
        ({"dtype": np.uint8, "photometric": "cfa", "channels": 1}, "raw sensor"),
        ({"dtype": np.uint8, "photometric": "cielab"}, "CIE Lab"),
        ({"dtype": np.uint8, "compression": "jpeg2000"}, "compression 34712"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(what: dict[str, Any], words: str) -> None:
    array = samples(8, what.pop("channels", 3)).astype(what.pop("dtype"))
    with pytest.raises(UnsupportedImageError, match=words):
        decode_photo(write(array, **what))


def test_a_raw_camera_files_preview_is_not_taken_for_the_photo() -> None:
    data = write(samples(8, 3), subfiletype=1)
    with pytest.raises(UnsupportedImageError, match="preview"):
        decode_photo(data)


def test_smaller_copies_behind_a_picture_are_no_pages() -> None:
    first, small = samples(8, 3), samples(8, 3)[::2, ::2]
    for subfile in (1, 0):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(first, photometric="rgb", metadata=None)
            writer.write(small, photometric="rgb", subfiletype=subfile, metadata=None)
        if subfile:
            np.testing.assert_array_equal(decode_photo(stream.getvalue()).pixels, first)
        else:
            with pytest.raises(AnimatedImageError):
                decode_photo(stream.getvalue())

"""Facts about reading picture files, the broken and hostile ones included."""

import contextlib
import io
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restora.errors import (
    AnimatedImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnknownFormatError,
    UnsupportedImageError,
)
from restora.image import Photo, PhotoLimits, decode_photo, encode_photo, probe_photo, read_photo
from restora.image.orientation import turn_upright

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"]


def save(array: np.ndarray | Image.Image, format_: str, **options: object) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def smooth(height: int = 64, width: int = 96) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack((x * 2, y * 3, x + y)).astype(np.uint8)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_decodes(format_: str) -> None:
    photo = decode_photo(save(smooth(), format_))
    assert photo.pixels.shape == (64, 96, 3)
    assert photo.format == format_
    header = probe_photo(save(smooth(), format_))
    assert (header.width, header.height, header.format) == (96, 64, format_)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_content_decides_not_the_name(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(save(RGB, format_))
    assert read_photo(path).format == format_


@pytest.mark.parametrize("data", [b"", b"hello, I am text", b"\0" * 4096, b"<svg/>", b"%PDF-1.7"])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        decode_photo(data, name="notes")


def test_a_folder_or_a_missing_file_is_an_image_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.png"):
        with pytest.raises(ImageError, match=r"cannot be read|it is a folder"):
            read_photo(path)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_truncated_file_never_gives_half_a_picture(format_: str, share: float) -> None:
    data = save(RGB, format_)
    with pytest.raises((TruncatedImageError, UnknownFormatError)):
        decode_photo(data[: max(2, int(len(data) * share))])


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_other_encodings_are_guarded_too(format_: str, options: dict[str, object]) -> None:
    data = save(RGB, format_, **options)
    assert decode_photo(data).pixels.shape == RGB.shape
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError):
            decode_photo(data[: int(len(data) * share)])


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_16_bit_file_never_gives_half_a_picture(format_: str, share: float) -> None:
    deep = Photo(np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16))
    data = encode_photo(deep, format=format_.lower())  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        decode_photo(data[: int(len(data) * share)])


@pytest.mark.parametrize("format_", FORMATS)
def test_flipped_bits_never_crash(format_: str) -> None:
    data = save(RGB, format_)
    rng = np.random.default_rng(FORMATS.index(format_))
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 3):
            damaged[position] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(ImageError):
            decode_photo(bytes(damaged), limits=PhotoLimits(max_pixels=1_000_000))


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros, compressed well: a decompression bomb when large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * width)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_bomb_is_rejected_from_its_header_with_flat_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of(20_000, 20_000))
    code = (
        "import resource, sys; from restora.image import read_photo\n"
        "from restora.errors import ImageTooLargeError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_photo(sys.argv[1])\n"
        "except ImageTooLargeError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    engine = str(Path(__file__).parents[3] / "engine")
    result = subprocess.run(
        [sys.executable, "-c", code, str(bomb)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": engine},
    )
    message, grown = result.stdout.strip().splitlines()
    assert "20000 x 20000 = 400 MP, the limit is 200" in message
    assert int(grown) * (1 if sys.platform == "linux" else 0) < 8_000  # KiB
    assert resource  # the unit of ru_maxrss is KiB on Linux


def test_the_limit_can_be_raised_past_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = png_of(50, 50)
    assert decode_photo(data).pixels.shape == (50, 50, 3)
    with pytest.raises(ImageTooLargeError, match="max_pixels"):
        decode_photo(data, limits=PhotoLimits(max_pixels=2499))
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_an_error(format_: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 99, 200)]
    data = save(frames[0], format_, save_all=True, append_images=frames[1:])
    with pytest.raises(AnimatedImageError, match=r"holds several (frames|pages)"):
        decode_photo(data)


def test_a_phones_double_picture_gives_the_first(caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (50, 200)]
    data = save(frames[0], "MPO", save_all=True, append_images=frames[1:])
    photo = decode_photo(data)
    assert abs(int(photo.pixels.mean()) - 50) <= 1
    assert "the first one is used" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once_and_reset(orientation: int, format_: str) -> None:
    upright = smooth(24, 40)
    stored = unturn(upright, orientation)
    exif = Image.Exif()
    exif[274] = orientation
    exif[305] = "made by a test"
    options = {"quality": 100} if format_ in ("JPEG", "WEBP") else {}
    photo = decode_photo(save(stored, format_, exif=exif, **options))
    assert photo.pixels.shape == upright.shape
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 3  # JPEG and WebP lose a little
    assert photo.metadata.exif is not None
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + photo.metadata.exif)
    assert kept.get(274, 1) == 1
    assert kept[305] == "made by a test"
    header = probe_photo(save(stored, format_, exif=exif))
    assert (header.width, header.height) == (40, 24)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["png", "tiff"])
def test_orientation_is_applied_at_16_bits(orientation: int, format_: str) -> None:
    upright = (smooth(24, 40).astype(np.uint16) << 7) + 1
    stored = np.ascontiguousarray(unturn(upright, orientation))
    exif = Image.Exif()
    exif[274] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    from restora.image import Metadata

    data = encode_photo(Photo(stored, metadata=Metadata(exif=block)), format=format_)  # type: ignore[arg-type]
    assert np.array_equal(decode_photo(data).pixels, upright)


def unturn(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera held that way stores: the inverse is found by trying."""
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    return turn_upright(upright, inverse)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, "lt"), (2, "rt"), (3, "rb"), (4, "lb"), (5, "lt"), (6, "rt"), (7, "rb"), (8, "lb")],
)
def test_the_first_stored_pixel_lands_in_the_corner_that_exif_names(
    orientation: int, corner: str
) -> None:
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[0, 0] = 255
    seen = turn_upright(stored, orientation)
    row = 0 if corner[1] == "t" else -1
    col = 0 if corner[0] == "l" else -1
    assert seen[row, col, 0] == 255
    assert seen.shape[:2] == ((6, 4) if orientation >= 5 else (4, 6))


def test_cmyk_becomes_rgb_close_to_what_it_was() -> None:
    colors = smooth()
    data = save(Image.fromarray(colors).convert("CMYK"), "JPEG", quality=100)
    photo = decode_photo(data)
    assert np.abs(photo.pixels.astype(int) - colors).mean() < 4  # JPEG loss in four channels


def test_a_broken_cmyk_profile_is_reported_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    photo = decode_photo(save(cmyk, "TIFF", icc_profile=b"not a profile"))
    assert photo.pixels.shape == (64, 96, 3)
    assert photo.metadata.icc is None
    assert "colors are approximate" in caplog.text


def test_a_palette_with_transparency_becomes_rgb_and_alpha() -> None:
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    photo = decode_photo(save(image, "PNG", transparency=1))
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]
    assert photo.alpha is not None
    assert photo.alpha[0].tolist() == [255, 0, 255, 255]


@pytest.mark.parametrize(
    ("mode", "shape", "has_alpha"),
    [("1", (8, 9), False), ("L", (8, 9), False), ("LA", (8, 9), True), ("RGBA", (8, 9, 3), True)],
)
def test_gray_stays_gray_and_alpha_is_kept(
    mode: str, shape: tuple[int, ...], has_alpha: bool
) -> None:
    photo = decode_photo(save(Image.new(mode, (9, 8), 1 if mode == "1" else None), "PNG"))
    assert photo.pixels.shape == shape
    assert (photo.alpha is not None) == has_alpha
    if mode == "1":
        assert photo.pixels.max() == 255


def test_a_color_that_means_transparent_becomes_alpha() -> None:
    photo = decode_photo(save(RGB, "PNG", transparency=tuple(int(v) for v in RGB[3, 4])))
    assert photo.alpha is not None
    assert photo.alpha[3, 4] == 0


def test_16_bits_are_kept_whole_from_opencvs_own_files() -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (6, 7, 3)).astype(np.uint16)
    for ending in (".png", ".tiff", ".ppm"):
        data = cv2.imencode(ending, deep[..., ::-1])[1].tobytes()
        assert np.array_equal(decode_photo(data).pixels, deep), ending


def test_a_pnm_file_with_another_white_is_stretched() -> None:
    pixels = np.array([[0, 1023, 512]], ">u2")
    photo = decode_photo(b"P5\n# a comment\n3 1\n1023\n" + pixels.tobytes())
    assert photo.pixels.tolist() == [[0, 65535, 32800]]


def test_floating_point_tiff_is_refused() -> None:
    data = save(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(UnsupportedImageError, match="at most 16 bits"):
        decode_photo(data)


@pytest.mark.parametrize("size", [(1, 1), (30000, 1), (1, 30000)])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "BMP"])
def test_extreme_shapes_decode(size: tuple[int, int], format_: str) -> None:
    photo = decode_photo(save(Image.new("RGB", size, (9, 9, 9)), format_))
    assert (photo.width, photo.height) == size


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    gray=st.booleans(),
    has_alpha=st.booleans(),
    deep=st.booleans(),
    format_=st.sampled_from(["png", "tiff"]),
)
def test_lossless_formats_give_back_exactly_what_was_written(
    height: int, width: int, gray: bool, has_alpha: bool, deep: bool, format_: str
) -> None:
    dtype = np.uint16 if deep else np.uint8
    rng = np.random.default_rng(height * 13 + width)
    shape = (height, width) if gray else (height, width, 3)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    alpha = rng.integers(0, 256, (height, width)).astype(dtype) if has_alpha else None
    photo = decode_photo(encode_photo(Photo(pixels, alpha), format=format_))  # type: ignore[arg-type]
    if format_ == "tiff" and gray and has_alpha and deep:  # written as color
        assert np.array_equal(photo.pixels[..., 0], pixels)
    else:
        assert np.array_equal(photo.pixels, pixels)
    assert photo.pixels.dtype == dtype
    if alpha is None:
        assert photo.alpha is None
    else:
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, alpha)

"""Files made to hurt: each ends as its own error, in bounded memory, and none hangs."""

import contextlib
import io
import os
import resource
import socket
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from restora.errors import (
    FileTooLargeError,
    ImageError,
    NotAFileError,
    TruncatedImageError,
    UnknownFormatError,
    UnsupportedImageError,
)
from restora.image import (
    PhotoLimits,
    decode_photo,
    encode_photo,
    probe_file,
    probe_photo,
    read_photo,
    sniff_file,
)
from restora.image.exif import exif_from_tiff, is_sound
from restora.image.ifd import structure_of
from tiff_files import LONG, SHORT, build, tiff

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, color: int, *chunks: bytes, side: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def peak_of(data: bytes) -> int:
    """Most bytes that Python objects take while these bytes are refused."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            decode_photo(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def big_tiff(tag: int, kind: int, count: int) -> bytes:
    """A BigTIFF whose one entry claims `count` values."""
    return b"II+\0" + struct.pack("<HHQQHHQQQ", 8, 0, 16, 1, tag, kind, count, 16, 0)


HOSTILE = {
    "palette PNG without PLTE": png(8, 3, chunk(b"IDAT", zlib.compress(bytes(6)))),
    "BigTIFF with an ICC profile of 2**62 bytes": big_tiff(34675, 7, 2**62),
    "BigTIFF with an ICC profile of 2**64 - 1 bytes": big_tiff(34675, 7, 2**64 - 1),
    "PNG whose second header has another depth": png(
        8,
        0,
        chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(bytes(10))),
    ),
    "PNG that begins with another chunk": png(
        16, 0, chunk(b"IDAT", zlib.compress(bytes(10)))
    ).replace(b"\r\n\x1a\n", b"\r\n\x1a\n" + chunk(b"tEXt", b"a\0b")),
    "TIFF without a size": build([(262, SHORT, [1])], {}),
    "TIFF of no size": tiff((256, LONG, [0])),
    "TIFF whose directory is its own next page": tiff()[:-20],
    "PGM with a white of 0": b"P5 2 2 0 \0\0\0\0",
    "plain PGM that ends early": b"P2 4 4 1023\n1 2 3",
    "plain PGM without pixels": b"P2 4 4 1023\n",
    "plain PGM of words": b"P2 2 2 1023\none two three four",
    "JPEG of markers only": b"\xff\xd8\xff\xe1\x00\x04ab\xff\xd9",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_an_error_of_this_file_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(ImageError):
        decode_photo(HOSTILE[kind])
    with pytest.raises(ImageError):
        read_photo(path)
    with contextlib.suppress(ImageError):  # the header may be sound
        probe_file(path)


@pytest.mark.parametrize("tag", [34675, 700])
def test_a_block_that_is_a_number_is_dropped_and_the_picture_kept(
    tag: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiff((tag, LONG, [3_000_000_000]))
    tracemalloc.start()
    photo = decode_photo(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (photo.width, photo.metadata.icc, photo.metadata.xmp) == (4, None, None)
    assert "is no string of bytes and is dropped" in caplog.text
    assert peak < 10e6


@pytest.mark.parametrize(
    "orientation", [(274, 2, [54]), (274, 1, [6]), (274, 7, [6, 0, 0, 0, 0]), (274, 4, [2**32 - 1])]
)
def test_an_orientation_that_is_no_short_number_is_survived(
    orientation: tuple[int, int, list[int]],
) -> None:
    tag, kind, values = orientation
    as_bytes = {1: 1, 2: 1, 7: 1}.get(kind)
    row = (tag, 1 if as_bytes else kind, values)
    data = bytearray(tiff(row))
    at = data.index(struct.pack("<HHI", tag, row[1], len(values)))
    struct.pack_into("<H", data, at + 2, kind)
    assert decode_photo(bytes(data)).width == 4


def test_values_that_share_their_bytes_are_added_up_before_they_are_read() -> None:
    shared = b"x" * 100_000
    start = 8 + 2 + 12 * 3000 + 4
    table = struct.pack("<H", 3000) + b"".join(
        struct.pack("<HHII", 40000 + i, 7, len(shared), start) for i in range(3000)
    )
    data = b"II*\0" + struct.pack("<I", 8) + table + b"\0\0\0\0" + shared
    assert peak_of(data) < 20 * len(data)
    exif = b"Exif\0\0" + data[:65000]
    assert not is_sound(exif[6:])


def test_an_exif_block_of_shared_values_costs_no_more_than_its_size() -> None:
    shared, count = b"x" * 50_000, 900
    start = 8 + 2 + 12 * count + 4
    table = struct.pack("<H", count) + b"".join(
        struct.pack("<HHII", 40000 + i, 7, len(shared), start) for i in range(count)
    )
    block = b"II*\0" + struct.pack("<I", 8) + table + b"\0\0\0\0" + shared
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "JPEG", exif=b"Exif\0\0" + block)
    tracemalloc.start()
    photo = decode_photo(stream.getvalue())
    encode_photo(photo, format="tiff")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # the values together claim 45 MB


def test_an_idat_chunk_longer_than_the_file_takes_no_memory() -> None:
    whole = png(16, 2, chunk(b"IDAT", zlib.compress(bytes(26))))
    assert decode_photo(whole).pixels.dtype == np.uint16
    for length in (0xFFFFFFE0, 0x7FFFFFFF, 1 << 30):
        broken = png(16, 2, chunk(b"IDAT", b"\0" * 8, length=length))
        assert run_limited(broken, memory=400 << 20) == "TruncatedImageError"


@pytest.mark.parametrize("compression", [5, 8])
def test_tiles_much_larger_than_their_picture_are_refused(compression: int) -> None:
    data = tiff(
        (259, SHORT, [compression]), (322, LONG, [46336]), (323, LONG, [46336]),
        (324, LONG, [8]), (325, LONG, [100]),
    )  # fmt: skip
    with pytest.raises(UnsupportedImageError, match="claims tiles of 46336 x 46336"):
        decode_photo(data)


def test_channels_that_two_readers_order_differently_are_refused() -> None:
    stream = io.BytesIO()
    planes = np.moveaxis(np.full((16, 24, 3), 7, np.uint16), -1, 0)
    tifffile.imwrite(
        stream, planes, photometric="rgb", planarconfig="separate", compression="zlib",
        metadata=None,
    )  # fmt: skip
    data = bytearray(stream.getvalue())
    assert decode_photo(bytes(data)).width == 24
    entry = data.index(struct.pack("<HHI", 284, SHORT, 1))
    struct.pack_into("<H", data, entry + 2, 1)  # PlanarConfiguration as a BYTE
    with pytest.raises(TruncatedImageError, match="tag 284 must hold unsigned integers"):
        decode_photo(bytes(data))


@pytest.mark.parametrize("tiled", [False, True])
def test_a_jpeg_strip_larger_than_its_picture_is_refused(tiled: bool) -> None:
    stream = io.BytesIO()
    options = {"tile": (16, 32)} if tiled else {"rowsperstrip": 24}
    pixels = np.zeros((24, 32, 3), np.uint8)
    tifffile.imwrite(
        stream, pixels, photometric="rgb", compression="jpeg", metadata=None, **options
    )
    data = bytearray(stream.getvalue())
    assert decode_photo(bytes(data)).width == 32
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, 18207, 30908)
    with pytest.raises(TruncatedImageError, match=r"says 30908 x 18207"):
        decode_photo(bytes(data))


def test_transparency_behind_the_pixels_is_ignored_by_header_and_picture_alike() -> None:
    palette = chunk(b"PLTE", bytes(range(12)))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0\1\0\2\3"))
    for chunks, alpha in (
        ((palette, chunk(b"tRNS", b"\0\x80"), pixels), True),
        ((palette, pixels, chunk(b"tRNS", b"\0\x80")), False),
    ):
        data = png(8, 3, *chunks)
        assert (decode_photo(data).alpha is not None) == alpha
        assert probe_photo(data).channels == 3 + alpha


def run_limited(data: bytes, *, memory: int) -> str:
    """The type of the error that decoding raises in a process of so much address space."""
    script = (
        "import resource, sys\n"
        "import numpy, imagecodecs, tifffile\n"
        "from restora.image import decode_photo\n"
        "imagecodecs.png_decode, imagecodecs.zlib_decode\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {memory},) * 2)\n"
        "try:\n"
        "    decode_photo(sys.stdin.buffer.read())\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, timeout=60, check=True
    )
    return ran.stdout.decode().strip()


def test_sixteen_bit_gray_keeps_the_value_that_means_transparent() -> None:
    rows = b"".join(b"\0" + struct.pack(">HH", *row) for row in ((1000, 2000), (3000, 1000)))
    data = png(16, 0, chunk(b"tRNS", struct.pack(">H", 1000)), chunk(b"IDAT", zlib.compress(rows)))
    photo = decode_photo(data)
    assert photo.pixels.tolist() == [[1000, 2000], [3000, 1000]]
    assert photo.alpha is not None
    assert photo.alpha.tolist() == [[0, 65535], [65535, 0]]
    assert probe_photo(data).channels == 2
    wrong = data.replace(chunk(b"tRNS", struct.pack(">H", 1000)), chunk(b"tRNS", b"\3\4\5"))
    assert decode_photo(wrong).alpha is None
    assert probe_photo(wrong).channels == 1


@pytest.mark.parametrize("comment", ["# short", "# " + "x" * 5000, "#\n# two\n#"])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("white", [256, 1023, 4095, 65535])
def test_deep_pnm_files_keep_their_bits_whatever_their_comments(
    comment: str, plain: bool, white: int
) -> None:
    values = np.array([[0, white // 3, white], [1, white - 1, white // 2]])
    for channels, kinds in ((1, ("P5", "P2")), (3, ("P6", "P3"))):
        wide = np.repeat(values[..., None], channels, axis=2)
        head = f"{kinds[plain]}\n{comment}\n3 {comment}\n2\n{white}\n".encode()
        body = (
            " ".join(map(str, wide.reshape(-1))).encode() if plain else wide.astype(">u2").tobytes()
        )
        photo = decode_photo(head + body)
        expected = np.rint(wide * (65535 / white)).astype(np.uint16)
        np.testing.assert_array_equal(photo.pixels, expected.squeeze())
        header = probe_photo(head + body)
        assert (header.bits, header.channels) == (16, channels)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device", "link to a device"])
def test_what_is_no_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        # an absolute path of a socket may have 107 bytes
        os.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("photo.jpg")
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    for read in (read_photo, probe_file, sniff_file):
        with pytest.raises(ImageError) as caught:
            read(path)
        # a socket cannot even be opened
        assert isinstance(caught.value, NotAFileError) or kind == "socket"


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as stream:
        stream.write(b"\xff\xd8\xff\xe0")
        stream.truncate(30_000_000_000)
    for read in (read_photo, probe_file, sniff_file):
        with pytest.raises(FileTooLargeError, match="--max-file-size"):
            read(path)
    with pytest.raises(FileTooLargeError):
        decode_photo(bytes(100), limits=PhotoLimits(max_file_bytes=99))


def test_pages_are_not_counted() -> None:
    page = tiff()[8:]
    # ten thousand directories in a chain of which only the first two are looked at
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for _ in range(10_000):
        data += page
    size = len(page)
    for number in range(9_999):
        start = 8 + number * size
        (entries,) = struct.unpack_from("<H", data, start)
        struct.pack_into("<I", data, start + 2 + 12 * entries, start + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(ImageError, match="several pages"):
        decode_photo(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", "Canon raw"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"what is this", "begins with b'what is '"),
    ],
)
def test_an_unsupported_format_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for read in (read_photo, probe_file, sniff_file):
        with pytest.raises(UnknownFormatError, match=words):
            read(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_exif_tags_of_a_tiff_file_are_kept_byte_by_byte(order: str, big: bool) -> None:
    stream = io.BytesIO()
    tags = [(271, 2, 0, "maker of the camera", True), (65000, LONG, 1, 7, True)]
    options = {"byteorder": order, "bigtiff": big, "metadata": None, "software": "none"}
    tifffile.imwrite(stream, RGB, photometric="rgb", extratags=tags, **options)
    # an EXIF directory behind the picture, and a tag that points at it
    data = stream.getvalue()
    at = len(data) + len(data) % 2
    directory = struct.pack(order + ("Q" if big else "H"), 1)
    directory += struct.pack(order + ("HHQ" if big else "HHI"), 37386, 5, 1)
    value = struct.pack(order + "II", 71, 2)
    directory += value + bytes(8) if big else struct.pack(order + "I", at + 18) + bytes(4) + value
    pointed = bytearray(data.ljust(at, b"\0") + directory)
    entry = data.index(struct.pack(order + "HH", 65000, LONG))
    struct.pack_into(order + "H", pointed, entry, 34665)
    struct.pack_into(order + "I", pointed, entry + (12 if big else 8), at)
    block = exif_from_tiff(structure_of(bytes(pointed)))
    assert block is not None
    assert is_sound(block)
    again = Image.Exif()
    again.load(b"Exif\0\0" + block)
    assert again[271] == "maker of the camera"
    assert again.get_ifd(0x8769)[37386] == 35.5
    assert 256 not in again
    assert decode_photo(bytes(pointed)).metadata.exif == block


def test_a_reason_is_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError("too\ndeep " + "x" * 1000)

    monkeypatch.setattr("restora.image.decode.open_header", fail)
    with pytest.raises(TruncatedImageError) as caught:
        decode_photo(b"\xff\xd8\xff")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "JPEG", progressive=True, quality=10)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    usual = data.count(b"\xff\xda")
    allowed = data[:-2] + data[last:-2] * (100 - usual) + b"\xff\xd9"
    assert decode_photo(allowed).width == 64
    with pytest.raises(UnsupportedImageError, match=r"at most 100 scans, .* it has 101"):
        decode_photo(data[:-2] + data[last:-2] * (101 - usual) + b"\xff\xd9")

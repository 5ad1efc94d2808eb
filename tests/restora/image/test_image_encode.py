"""Facts about writing picture files: metadata kept, nothing half-written, nothing elsewhere."""

import errno
import io
import os
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from restora.atomic import write_atomically
from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError
from restora.image import (
    Metadata,
    Photo,
    decode_photo,
    encode_photo,
    png,
    read_photo,
    write_photo,
)
from restora.image.compare import make_comparison
from restora.image.png import combine_adler

PIXELS = np.random.default_rng(5).integers(0, 256, (12, 10, 3), np.uint8)
DEEP = PIXELS.astype(np.uint16) * 257


def rich_metadata() -> Metadata:
    exif = Image.Exif()
    exif[271] = "Leica"
    exif[306] = "1962:05:01 10:00:00"
    exif.get_ifd(0x8769)[33434] = 0.008
    return Metadata(
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a b="\xc3\xa4"/></x:xmpmeta>',
    )


@pytest.mark.parametrize(
    ("format_", "pixels"),
    [("jpg", PIXELS), ("png", PIXELS), ("webp", PIXELS), ("png", DEEP)],
)
def test_icc_exif_and_xmp_come_back_byte_by_byte(format_: str, pixels: np.ndarray) -> None:
    metadata = rich_metadata()
    data = encode_photo(Photo(pixels, metadata=metadata), format=format_)  # type: ignore[arg-type]
    assert decode_photo(data).metadata == metadata


@pytest.mark.parametrize("pixels", [PIXELS, DEEP])
def test_tiff_keeps_icc_and_xmp_bytes_and_exif_values(pixels: np.ndarray) -> None:
    metadata = rich_metadata()
    again = decode_photo(encode_photo(Photo(pixels, metadata=metadata), format="tiff")).metadata
    assert (again.icc, again.xmp) == (metadata.icc, metadata.xmp)
    exif = Image.Exif()
    assert again.exif is not None
    exif.load(b"Exif\0\0" + again.exif)
    assert exif[271] == "Leica"
    assert float(exif.get_ifd(0x8769)[33434]) == pytest.approx(0.008)


def test_other_programs_read_our_16_bit_files() -> None:
    import cv2

    for format_ in ("png", "tiff"):
        metadata = rich_metadata()  # once: Little CMS writes the time into each profile
        data = encode_photo(Photo(DEEP, metadata=metadata), format=format_)  # type: ignore[arg-type]
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(array[..., ::-1], DEEP)
        assert Image.open(io.BytesIO(data)).info["icc_profile"] == metadata.icc


def test_metadata_can_be_stripped() -> None:
    for format_ in ("jpg", "png", "webp", "tiff"):
        photo = Photo(PIXELS, metadata=rich_metadata())
        data = encode_photo(photo, format=format_, strip_metadata=True)  # type: ignore[arg-type]
        assert decode_photo(data).metadata == Metadata()


@pytest.mark.parametrize(
    ("photo", "format_", "message"),
    [
        (Photo(PIXELS, PIXELS[..., 0]), "jpg", "no transparency: write png"),
        (Photo(DEEP), "jpg", "holds 8 bits and the photo has 16"),
        (Photo(DEEP), "webp", "holds 8 bits and the photo has 16"),
        (Photo(np.zeros((1, 16384, 3), np.uint8)), "webp", "at most 16383 pixels a side"),
        (Photo(np.zeros((1, 65536, 3), np.uint8)), "jpg", "at most 65535 pixels a side"),
        (Photo(PIXELS), "bmp", "must be one of png, jpg, webp, tiff"),
        (Photo(PIXELS, metadata=Metadata(xmp=b"x" * 70000)), "jpg", "metadata does not fit"),
    ],
)
def test_what_a_format_cannot_hold_is_an_error(photo: Photo, format_: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        encode_photo(photo, format=format_)  # type: ignore[arg-type]


def test_an_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"must be one of \.png"):
        write_photo(Photo(PIXELS), tmp_path / "a.xyz")


def test_quality_outside_its_range_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"in 1\.\.100, got 0"):
        encode_photo(Photo(PIXELS), format="jpg", quality=0)


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_system_call_leaves_the_old_file_and_nothing_else(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "photo.png"
    target.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    kind = DiskFullError if code == errno.ENOSPC else OutputError
    with pytest.raises(kind, match=r"photo\.png cannot be written"):
        write_atomically(target, b"new")
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    write_atomically(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_an_interrupt_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"data")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_clear_error_without_partial_files(small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    with pytest.raises(DiskFullError, match="No space left"):
        write_photo(Photo(noise), small_disk / "large.png")
    assert not list(small_disk.iterdir())
    write_photo(Photo(PIXELS), small_disk / "small.png")
    assert read_photo(small_disk / "small.png").width == 10


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"precious")
    link = tmp_path / "results.png"
    link.symlink_to(outside)
    with pytest.raises(UnsafePathError, match="is a link"):
        write_atomically(link, b"new")
    assert outside.read_bytes() == b"precious"


def test_a_linked_folder_that_leaves_the_output_is_refused(tmp_path: Path) -> None:
    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    output.mkdir()
    elsewhere.mkdir()
    (output / "sub").symlink_to(elsewhere)
    with pytest.raises(UnsafePathError, match="outside"):
        write_atomically(output / "sub" / "a.png", b"x", inside=output)
    with pytest.raises(UnsafePathError, match="outside"):
        write_atomically(output / ".." / "a.png", b"x", inside=output)
    assert not list(elsewhere.iterdir())


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_comparison_shows_both_at_the_results_size() -> None:
    after = Photo(np.full((24, 20), 65535, np.uint16), np.full((24, 20), 65535, np.uint16))
    joined = make_comparison(Photo(PIXELS), after)
    assert joined.pixels.dtype == np.uint8
    assert joined.pixels.shape == (24, 42, 3)
    assert (joined.pixels[:, -20:] == 255).all()


@given(first=st.binary(max_size=400), second=st.binary(max_size=400))
def test_checksums_of_bands_add_up(first: bytes, second: bytes) -> None:
    joined = combine_adler(zlib.adler32(first), zlib.adler32(second), len(second))
    assert joined == zlib.adler32(first + second)


def test_a_png_is_written_without_ever_being_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "_BAND_BYTES", 1 << 15)
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    photo = Photo(pixels)  # noise: the file is as large as the photo
    tracemalloc.start()
    write_photo(photo, tmp_path / "noise.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes / 4
    assert np.array_equal(read_photo(tmp_path / "noise.png").pixels, pixels)


def test_an_error_while_parts_are_made_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"begun"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(tmp_path / "file", parts())
    assert list(tmp_path.iterdir()) == []

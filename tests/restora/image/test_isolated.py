"""Pictures decoded in child processes: the same photos, and nothing that a file does reaches us."""

import logging
import os
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from restora.errors import (
    DecoderProcessError,
    DecodeTimeoutError,
    FileTooLargeError,
    ImageError,
    ImageTooLargeError,
    MemoryLimitError,
    NotAFileError,
    OptionError,
    TruncatedImageError,
    UnknownFormatError,
)
from restora.image import (
    Metadata,
    Photo,
    PhotoLimits,
    encode_photo,
    probe_file,
    read_photo,
    write_photo,
)
from restora.image import isolated as isolated_module
from restora.image.decoder import decode_bytes
from restora.image.isolated import (
    probe_all_isolated,
    probe_isolated,
    read_isolated,
    start_decoder,
)

RNG = np.random.default_rng(7)


def photo_of(channels: int, alpha: bool, dtype: type) -> Photo:
    white = np.iinfo(dtype).max
    shape = (40, 50, 3) if channels == 3 else (40, 50)
    return Photo(
        RNG.integers(0, white, shape, dtype),
        RNG.integers(0, white, (40, 50), dtype) if alpha else None,
        Metadata(icc=b"profile", xmp=b"<x/>"),
    )


@pytest.mark.parametrize("format_", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_photo_is_the_same(
    channels: int, alpha: bool, dtype: type, format_: str, tmp_path: Path
) -> None:
    path = tmp_path / f"photo.{format_}"
    write_photo(photo_of(channels, alpha, dtype), path)
    here, there = read_photo(path), read_isolated(path)
    np.testing.assert_array_equal(here.pixels, there.pixels)
    if here.alpha is not None:
        assert there.alpha is not None
        np.testing.assert_array_equal(here.alpha, there.alpha)
    assert (here.metadata, here.format, here.alpha is None) == (
        there.metadata, there.format, there.alpha is None
    )  # fmt: skip
    assert probe_file(path) == probe_isolated(path)


def test_errors_keep_their_type_and_the_name_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.jpg").write_text("no picture")
    Path("cut.png").write_bytes(encode_photo(photo_of(3, False, np.uint8), format="png")[:400])
    os.mkfifo("pipe.png")
    for name, kind in {
        "words.jpg": UnknownFormatError,
        "cut.png": TruncatedImageError,
        "pipe.png": NotAFileError,
        "nothing.png": ImageError,
    }.items():
        with pytest.raises(kind) as caught:
            read_isolated(name)
        assert str(caught.value).startswith(name)


def test_warnings_reach_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "broken.jpg"
    Image.new("CMYK", (8, 8)).save(path, icc_profile=b"not a profile")
    with caplog.at_level(logging.WARNING):
        read_isolated(path)
    assert "CMYK profile is broken" in caplog.text
    assert caplog.records[0].name == "restora.image.decode"


def test_what_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slow.png"
    write_photo(photo_of(3, False, np.uint8), path)
    function = isolated_module._FUNCTION
    isolated_module._idle.close()
    monkeypatch.setattr(isolated_module, "_FUNCTION", "decoder_fakes:take_too_long")
    with pytest.raises(DecodeTimeoutError, match=r"longer than 0.5 s to decode: .*-timeout"):
        read_isolated(path, limits=PhotoLimits(max_decode_s=0.5))
    monkeypatch.setattr(isolated_module, "_FUNCTION", function)
    good = tmp_path / "good.png"
    write_photo(photo_of(3, False, np.uint8), good)
    assert read_isolated(good).width == 50


def test_a_decoder_that_takes_more_memory_than_the_header_explains_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.tif"
    # one strip of 80 MB behind a header of 8 x 8: the claim is found when the strip is read
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), compression="zlib")
    monkeypatch.setattr(isolated_module, "_FUNCTION", "decoder_fakes:take_too_much_memory")
    isolated_module._idle.close()
    with pytest.raises(MemoryLimitError, match="more memory to decode than is allowed"):
        read_isolated(path)
    isolated_module._idle.close()


@pytest.mark.slow
def test_sound_pictures_fit_into_what_their_header_explains(tmp_path: Path) -> None:
    pixels = np.tile(RNG.integers(0, 255, (8, 100, 4), np.uint8), (250, 30, 1))
    kinds: dict[str, tuple[str, dict[str, object]]] = {
        "a.jpg": ("RGB", {"quality": 95, "progressive": True}),
        "b.jpg": ("CMYK", {"quality": 95}),
        "c.png": ("RGBA", {"compress_level": 1}),
        "d.png": ("P", {}),
        "e.tif": ("RGBA", {"compression": "tiff_lzw"}),
        "f.tif": ("CMYK", {"compression": "tiff_adobe_deflate"}),
        "g.webp": ("RGBA", {"quality": 50, "method": 0}),
        "h.gif": ("P", {}),
        "i.bmp": ("RGB", {}),
    }
    for name, (mode, options) in kinds.items():
        image = Image.fromarray(pixels)
        if mode == "P":
            image = Image.fromarray(pixels[..., 0])
            image.putpalette(bytes(range(256)) * 3)
        elif mode != "RGBA":
            image = image.convert("RGB").convert(mode)
        image.save(tmp_path / name, **options)
    deep = pixels.astype(np.uint16) * 200
    tifffile.imwrite(
        tmp_path / "j.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate",
        compression="lzw", extrasamples=["assocalpha"],
    )  # fmt: skip
    # libwebp takes memory for the whole canvas when a file is opened
    Image.fromarray(np.tile(pixels[:10], (400, 2, 1))).save(
        tmp_path / "k.webp", lossless=True, method=0
    )
    assert read_isolated(tmp_path / "k.webp").width == 6000
    (tmp_path / "k.webp").unlink()
    for path in sorted(tmp_path.iterdir()):
        assert read_isolated(path).width == 3000, path
        assert decode_bytes(probe_isolated(path)) > 3000 * 2000 * 3


def test_a_decoder_that_crashes_costs_its_picture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    write_photo(photo_of(3, False, np.uint8), path)
    function = isolated_module._FUNCTION
    for fake, kind in (("crash", TruncatedImageError), ("be_killed", MemoryLimitError)):
        isolated_module._idle.close()
        monkeypatch.setattr(isolated_module, "_FUNCTION", f"decoder_fakes:{fake}")
        with pytest.raises(kind, match=r"photo\.png"):
            read_isolated(path)
        monkeypatch.setattr(isolated_module, "_FUNCTION", function)
        assert read_isolated(path).width == 50


def test_a_decoder_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write_photo(photo_of(3, False, np.uint8), path)
    read_isolated(path)
    for decoder in isolated_module._idle.decoders:
        decoder.process.kill()
        decoder.process.wait()
    for decoder in isolated_module._idle.decoders:
        decoder.process.returncode = None
    assert read_isolated(path).width == 50


def test_an_interpreter_that_cannot_start_is_an_error_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    write_photo(photo_of(3, False, np.uint8), path)
    isolated_module._idle.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(DecoderProcessError, match="can be started"):
        read_isolated(path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DecoderProcessError, match="end before they begin"):
        read_isolated(path)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    photos = []
    for index in range(12):
        photo = photo_of(3, False, np.uint8)
        write_photo(photo, tmp_path / f"{index}.png")
        photos.append(photo)
    paths = [tmp_path / f"{index % 12}.png" for index in range(48)]
    with ThreadPoolExecutor(6) as pool:
        for index, got in enumerate(pool.map(read_isolated, paths)):
            np.testing.assert_array_equal(got.pixels, photos[index % 12].pixels)
    assert len(isolated_module._idle.decoders) <= 6


def test_a_forked_process_leaves_its_parents_decoders_alone(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write_photo(photo_of(3, False, np.uint8), path)
    script = (
        "import os, sys\n"
        "from restora.image.isolated import read_isolated\n"
        "path = sys.argv[1]\n"
        "read_isolated(path)\n"
        "child = os.fork()\n"
        "widths = [read_isolated(path).width for _ in range(20)]\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    print(set(widths))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout.strip() == "{50}", ran.stderr


def test_decoders_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write_photo(photo_of(3, False, np.uint8), path)
    script = (
        "import os, signal, sys\n"
        "from restora.image import isolated\n"
        "isolated.read_isolated(sys.argv[1])\n"
        "print(isolated._idle.decoders[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    decoder = int(ran.stdout)
    ended = threading.Event()
    for _ in range(100):
        if not Path(f"/proc/{decoder}").exists() or "\nState:\tZ" in _status(decoder):
            break
        ended.wait(0.1)
    else:
        pytest.fail(f"process {decoder} outlives its parent")


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def test_starting_ahead_starts_one(tmp_path: Path) -> None:
    isolated_module._idle.close()
    start_decoder()
    start_decoder()
    assert len(isolated_module._idle.decoders) == 1


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    write_photo(photo_of(1, False, np.uint8), path)
    assert read_isolated(path).width == 50
    with pytest.raises(ImageError, match="cannot be read"):
        read_isolated("with\0zero.png")


def test_a_size_beyond_all_bounds_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    data = bytearray(encode_photo(photo_of(3, False, np.uint8), format="png"))
    for side in (0x7FFFFFFF, 0xFFFFFFE0):
        struct.pack_into(">I", data, 16, side)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        path.write_bytes(data)
        for read in (read_photo, read_isolated):
            with pytest.raises(ImageTooLargeError):
                read(path)


def test_headers_cost_no_decoding(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    data = encode_photo(photo_of(3, False, np.uint8), format="png")
    path.write_bytes(data[: len(data) // 2])
    assert probe_isolated(path).width == 50
    (length,) = struct.unpack_from(">I", data, 8)
    assert length == 13


@pytest.mark.parametrize("name", ["max_pixels", "max_file_bytes", "max_decode_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**400, True, "1"])
def test_a_limit_is_a_positive_number(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{name} must be"):
        PhotoLimits(**{name: value})  # type: ignore[arg-type]


def test_headers_of_many_files_are_read_at_one_request(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index:02}.png" for index in range(40)]
    for path in paths:
        write_photo(photo_of(3, False, np.uint8), path)
    paths[7].write_bytes(b"no picture")
    paths[8] = tmp_path / "absent.png"
    paths[35].write_bytes(b"")
    found = probe_all_isolated(paths)
    assert [index for index, header in enumerate(found) if header is None] == [7, 8, 35]
    assert [header for header in found if header] == [
        probe_file(path) for index, path in enumerate(paths) if index not in (7, 8, 35)
    ]


def test_a_file_that_ends_its_decoder_costs_no_other_file_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "killer.png", "z.png"):
        write_photo(photo_of(3, False, np.uint8), tmp_path / name)
    isolated_module._idle.close()
    monkeypatch.setattr(isolated_module, "_FUNCTION", "decoder_fakes:die_at_a_killer")
    found = probe_all_isolated(sorted(tmp_path.iterdir()))
    assert [header is None for header in found] == [False, True, False]
    isolated_module._idle.close()


@pytest.mark.parametrize("format_", ["png", "tiff", "jpg", "webp"])
def test_the_bytes_of_a_file_give_the_same_photo_and_header(tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"a.{format_}"
    write_photo(Photo(RNG.integers(0, 255, (30, 40, 3), np.uint8)), path)
    assert probe_isolated(path.read_bytes()) == probe_isolated(path)
    assert (read_isolated(path.read_bytes()).pixels == read_isolated(path).pixels).all()


@pytest.mark.parametrize(
    ("data", "limits", "error", "message"),
    [
        (b"", None, UnknownFormatError, "^the upload is empty"),
        (b"GIF89a", None, ImageError, "^the upload"),
        (b"x" * 50, PhotoLimits(max_file_bytes=49), FileTooLargeError, "^the upload has 50 bytes"),
    ],
)
def test_bytes_are_refused_as_files_are_and_named_as_the_caller_says(
    data: bytes, limits: PhotoLimits | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_isolated(data, limits=limits, name="the upload")


def test_a_file_may_have_another_name_in_messages(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(TruncatedImageError, match=r"^the upload begins like") as caught:
        read_isolated(tmp_path / "secret.png", name="the upload")
    assert "secret" not in str(caught.value)

"""The header of YUV4MPEG2 streams, which video tools pass each other through pipes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from restora.errors import VideoError
from restora.video.source import MAX_PIXELS

MAGIC = b"YUV4MPEG2"
# FFmpeg's pixel formats, by the C tag; those of 4:2:0 differ in where chroma samples lie
_PIXELS = {
    "420": "yuv420p",
    "420jpeg": "yuv420p",
    "420mpeg2": "yuv420p",
    "420paldv": "yuv420p",
    "422": "yuv422p",
    "444": "yuv444p",
    "420p10": "yuv420p10le",
    "422p10": "yuv422p10le",
    "444p10": "yuv444p10le",
}
_PROGRESSIVE = ("p", "?")
_MAX_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Y4mHeader:
    """The first line of a stream.

    chroma: the C tag, such as "420mpeg2" or "422p10"
    rate: frames per second; None if the stream states none
    aspect: of one pixel, width / height; None if the stream states none
    full_range: whether XCOLORRANGE=FULL is there
    extras: all other tags, as they were read
    """

    width: int
    height: int
    chroma: str = "420jpeg"
    rate: Fraction | None = None
    aspect: Fraction | None = None
    full_range: bool = False
    extras: tuple[str, ...] = ()

    @property
    def pixels(self) -> str:
        """FFmpeg's name of the pixel format."""
        return _PIXELS[self.chroma]

    @property
    def bits(self) -> int:
        return 10 if "10" in self.pixels else 8

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        """(width in bytes, height) of the planes Y, Cb and Cr."""
        width, height = self.width, self.height
        across = width if "444" in self.pixels else (width + 1) // 2
        down = (height + 1) // 2 if "420" in self.pixels else height
        each = 1 if self.bits == 8 else 2
        return (width * each, height), (across * each, down), (across * each, down)

    def resized(self, size: tuple[int, int]) -> Y4mHeader:
        """The header of a stream with frames of (width, height)."""
        return replace(self, width=size[0], height=size[1])

    def encode(self) -> bytes:
        """The line, with the newline."""
        tags = [f"W{self.width}", f"H{self.height}", f"F{_ratio(self.rate)}", "Ip"]
        tags += [f"A{_ratio(self.aspect)}", f"C{self.chroma}"]
        tags += ["XCOLORRANGE=FULL"] if self.full_range else []
        words = (tag.encode("latin-1") for tag in (*tags, *self.extras))
        return b" ".join((MAGIC, *words)) + b"\n"


def parse_header(line: bytes) -> Y4mHeader:
    """line: without the newline

    Raises VideoError for a stream that is not YUV4MPEG2, whose frames are interlaced or too large,
    or whose pixels are not 4:2:0, 4:2:2 or 4:4:4 in 8 or 10 bits.
    """
    magic, *words = line.split(b" ")
    if magic != MAGIC:
        raise VideoError(
            f"the stream must be YUV4MPEG2, it begins with {line[:16]!r}: write it with "
            "ffmpeg -f yuv4mpegpipe -strict -1"
        )
    tags: dict[str, str] = {}
    extras: list[str] = []
    full_range = False
    for word in filter(None, words):
        text = word.decode("latin-1")
        if text == "XCOLORRANGE=FULL":
            full_range = True
        elif text[0] in "WHFIAC":
            tags[text[0]] = text[1:]
        elif not text.startswith("XYSCSS="):  # an older form of C
            extras.append(text)
    header = Y4mHeader(
        width=_side(tags, "W"),
        height=_side(tags, "H"),
        chroma=tags.get("C", "420jpeg"),
        rate=_fraction(tags, "F"),
        aspect=_fraction(tags, "A"),
        full_range=full_range,
        extras=tuple(extras),
    )
    _check(header, tags.get("I", "?"))
    return header


def _check(header: Y4mHeader, interlacing: str) -> None:
    if header.width * header.height > MAX_PIXELS:
        raise VideoError(
            f"the stream has frames of {header.width} x {header.height}, the limit is "
            f"{MAX_PIXELS} pixels"
        )
    if interlacing not in _PROGRESSIVE:
        raise VideoError(
            f"the frames must be progressive, the header says I{interlacing}: deinterlace them "
            "first, for example with ffmpeg -vf bwdif"
        )
    if header.chroma not in _PIXELS:
        raise VideoError(
            f"the pixels must be one of {', '.join(f'C{name}' for name in _PIXELS)}, the header "
            f"says C{header.chroma}: convert them first, for example with ffmpeg -pix_fmt yuv420p"
        )


def _side(tags: dict[str, str], tag: str) -> int:
    text = tags.get(tag, "")
    if not _is_number(text) or not int(text):
        raise VideoError(f"the header must state a size in pixels as {tag}, got {text!r}")
    return int(text)


def _fraction(tags: dict[str, str], tag: str) -> Fraction | None:
    """0:0, or no such tag, means that it is not known."""
    text = tags.get(tag, "0:0")
    first, _, second = text.partition(":")
    if not _is_number(first) or not _is_number(second):
        raise VideoError(f"the header must state {tag} as two numbers such as 25:1, got {text!r}")
    if not int(first) or not int(second):
        return None
    return Fraction(int(first), int(second))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _ratio(value: Fraction | None) -> str:
    return "0:0" if value is None else f"{value.numerator}:{value.denominator}"

"""Free memory of the machine, and the memory that a photo takes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from restora.image import PhotoHeader

_SLACK = 5 / 4
_REPAIRING = 9  # bytes of a pixel: new pixels, probability, mask, and its numbered places
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_USED = (
    Path("/sys/fs/cgroup/memory.current"),
    Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def count_free_bytes() -> int:
    """Free memory of the machine, but no more than the control group of this process allows."""
    free = int(psutil.virtual_memory().available)
    for limit, used in zip(_CGROUPS, _USED, strict=True):
        with contextlib.suppress(OSError, ValueError):  # no such controller, or "max"
            free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(0, free)


def bytes_of_photo(
    header: PhotoHeader,
    *,
    scale: int,
    outscale: float | None,
    pre_pad: int = 0,
    repairs: bool = False,
) -> int:
    """Estimate the peak memory of a photo, from the first byte read to the last one written,
    without the network's own.

    The sum of all arrays that exist at once, and a quarter for what is not counted. Measured peaks
    of color photos and of 16-bit ones (x2 and x4, larger and smaller results, on the CPU) were
    between 0.46 and 0.84 of it; gray photos of 8 bits take as little as 0.2 of it where a network
    for float32 pictures is there, and as much as color ones otherwise.

    pre_pad: pixels that are mirrored onto two sides before the network
    repairs: damage is repaired, or color, before the photo is enlarged
    """
    deep = header.bits > 8
    shown = header.channels * (2 if deep else 1)  # bytes of a pixel as it is kept
    tiled = 3 * (4 if deep else 1)  # and as the network takes it: gray as RGB
    final = scale if outscale is None else outscale
    decoded = 2 * shown + tiled
    made = scale**2 * (tiled + (shown if deep or header.channels != 3 else 0))
    made += scale**2 * 4 if deep and header.channels < 3 else 0  # gray levels, before rounding
    resized = 0.0 if final == scale else final**2 * shown
    encoded = final**2 * shown
    pixels = header.width * header.height
    padded = (header.width + pre_pad) * (header.height + pre_pad)
    made += tiled if pre_pad else 0
    if repairs:
        decoded += shown  # the photo as it was is kept
        made = max(made, _REPAIRING)
    return int((pixels * (decoded + resized + encoded) + padded * made) * _SLACK)

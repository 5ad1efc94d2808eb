"""The memory that a network takes for a tile, and the largest tile that fits."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path

import psutil

from restora.artifact import ArtifactInfo
from restora.backends import SizeLimits

_TENSORS = 4  # of its largest that a network holds at once, scratch memory included; measured: 3
_ELEMENTS = 128  # a pixel of the largest tensor, where the artifact does not say
_RESULTS = 4  # of a call that are held at once
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

DEFAULT_BYTES = 6 << 30  # large enough for tiles of RRDBNet that overlap little: see docs/tiling.md
_SHARE = 4  # of the machine's memory, at least this many times the tile's
_LIMIT_SHARE = 3  # of a limit that was given, which photos in flight share
_LEAST_SIDE = 64
_LEAST_SIDES_PER_OVERLAP = 3
# larger tiles would cost memory and save less than a tenth of the work: 1.1 = (22 / 21) ** 2
_ENOUGH_SIDE = 512
_ENOUGH_SIDES_PER_OVERLAP = 22


def bytes_of_network(info: ArtifactInfo, limits: SizeLimits, pixels: int) -> int:
    """Estimate the main memory of a network while it computes `pixels` input pixels in one call,
    with the results that wait to be joined."""
    return limits.bytes_per_call + int(_bytes_per_pixel(info, limits) * pixels)


def choose_max_pixels(
    info: ArtifactInfo, limits: SizeLimits, *, overlap: int, memory: int | None
) -> int:
    """The most pixels of a tile, so that the network takes no more than its share of memory.

    overlap: of the tiles, in pixels; tiles of three times that side are allowed in any case, and
        tiles of more than 22 times that side, which save little, only if they are under 512 pixels
    memory: limit of the whole process in bytes; the network may take a third of it. None: the
        network may take 6 GiB, or a quarter of the machine's memory if that is less
    """
    share = (
        min(DEFAULT_BYTES, count_bytes() // _SHARE) if memory is None else memory // _LIMIT_SHARE
    )
    fitting = int((share - limits.bytes_per_call) / _bytes_per_pixel(info, limits))
    least = max(_LEAST_SIDE, _LEAST_SIDES_PER_OVERLAP * overlap) ** 2
    enough = max(_ENOUGH_SIDE, _ENOUGH_SIDES_PER_OVERLAP * overlap) ** 2
    return max(least, min(fitting, enough))


@cache
def count_bytes() -> int:
    """Memory of the machine, but no more than the control group of this process allows."""
    total = int(psutil.virtual_memory().total)
    for limit in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such controller, or "max"
            total = min(total, int(limit.read_text()))
    return total


def _bytes_per_pixel(info: ArtifactInfo, limits: SizeLimits) -> float:
    if limits.bytes_per_pixel is not None:
        return limits.bytes_per_pixel
    elements = info.elements_per_pixel or _ELEMENTS
    return _TENSORS * 4 * elements + _RESULTS * 3 * info.scale**2

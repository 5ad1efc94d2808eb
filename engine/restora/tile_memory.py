"""The memory that a network takes for a tile, and the largest tile that fits."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path

import psutil

from restora.artifact import ArtifactInfo

_TENSORS = 4  # of its largest that a network holds at once, scratch memory included; measured: 3
_ELEMENTS = 128  # a pixel of the largest tensor, where the artifact does not say
_RESULTS = 4  # of a call that are held at once
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

DEFAULT_BYTES = 1 << 30
_SHARE = 4  # of the machine's memory, at least this many times the tile's
_LIMIT_SHARE = 3  # of a limit that was given, which photos in flight share
_LEAST_SIDE = 64
_SIDES_PER_OVERLAP = 3


def bytes_of_network(info: ArtifactInfo, pixels: int) -> int:
    """Estimate the memory of a network on the CPU while it computes `pixels` input pixels in one
    call, with the results that wait to be joined."""
    elements = info.elements_per_pixel or _ELEMENTS
    results = _RESULTS * 3 * info.scale**2
    return int((_TENSORS * 4 * elements + results) * pixels)


def choose_max_pixels(info: ArtifactInfo, *, overlap: int, limit: int | None) -> int:
    """The most pixels of a tile, so that the network takes no more than its share of memory.

    overlap: of the tiles, in pixels; tiles of three times that side are allowed in any case
    limit: of the whole process in bytes; the network may take a third of it. None: the network may
        take 1 GiB, or a quarter of the machine's memory if that is less
    """
    share = min(DEFAULT_BYTES, count_bytes() // _SHARE) if limit is None else limit // _LIMIT_SHARE
    least = max(_LEAST_SIDE, _SIDES_PER_OVERLAP * overlap) ** 2
    return max(least, share // bytes_of_network(info, 1))


@cache
def count_bytes() -> int:
    """Memory of the machine, but no more than the control group of this process allows."""
    total = int(psutil.virtual_memory().total)
    for limit in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such controller, or "max"
            total = min(total, int(limit.read_text()))
    return total

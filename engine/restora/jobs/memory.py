"""How much memory photos in flight may take, and how much a photo takes."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from restora.artifact import ArtifactInfo
from restora.errors import MemoryLimitError, OptionError, RestoraError
from restora.image import PhotoHeader, PhotoLimits
from restora.image.decoder import FILE_COPIES, decode_bytes
from restora.image.isolated import probe_isolated
from restora.jobs.budget import Budget
from restora.pipeline import Restorer

_LEAST_BYTES = 1 << 24
_TENSORS = 4  # of its largest that a network holds at once, scratch memory counted in; measured: 3
_ELEMENTS = 64  # a pixel of the largest tensor, where the artifact does not say
_RESULTS = 4  # of a call that are held at once
_DECODER_BYTES = 48 << 20  # of a process that decodes, before it has a photo; measured: 41
_MANY = 1 << 30
_SLACK = 5 / 4
_SHARE = 0.5  # of what is free, where nothing is asked for
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_USED = (
    Path("/sys/fs/cgroup/memory.current"),
    Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def count_free_bytes() -> int:
    """Of the machine, cut to what the control group of this process still grants."""
    free = int(psutil.virtual_memory().available)
    for limit, used in zip(_CGROUPS, _USED, strict=True):
        with contextlib.suppress(OSError, ValueError):  # no such controller, or "max"
            free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(0, free)


def bytes_of_photo(
    header: PhotoHeader, *, scale: int, outscale: float | None, pre_pad: int = 0
) -> int:
    """Most memory that a photo takes from its first byte read to its last one written, the
    network's own left out.

    What is held at once, added up, and a quarter for what is not counted. Peaks of six kinds of
    photos (JPEG and PNG, gray, with alpha, larger and smaller results; 8 bits, on the CPU) were
    between 0.55 and 0.95 of it.

    pre_pad  pixels that are mirrored onto two sides before the network
    """
    deep = header.bits > 8
    shown = header.channels * (2 if deep else 1)  # bytes of a pixel as it is kept
    tiled = 3 * (4 if deep else 1)  # and as the network takes it: gray as RGB
    final = scale if outscale is None else outscale
    decoded = 2 * shown + tiled
    made = scale**2 * (tiled + (shown if deep or header.channels != 3 else 0))
    resized = 0.0 if final == scale else final**2 * shown
    encoded = final**2 * shown
    pixels = header.width * header.height
    padded = (header.width + pre_pad) * (header.height + pre_pad)
    made += tiled if pre_pad else 0
    return int((pixels * (decoded + resized + encoded) + padded * made) * _SLACK)


def bytes_of_network(info: ArtifactInfo, side: int, batch: int) -> int:
    """What a network on the CPU holds while it runs a batch of side x side, and the results that
    wait to be joined."""
    elements = info.elements_per_pixel or _ELEMENTS
    results = _RESULTS * 3 * info.scale**2
    return int((_TENSORS * 4 * elements + results) * batch * side**2)


@dataclass(frozen=True, slots=True)
class PhotoMemory:
    """What photos in flight may take together.

    restorer   its networks are open
    limit      of the whole process and its decoders, in bytes; None: half of what the machine has
               free is for photos
    processes  that share what is free

    With a limit one photo is decoded at a time. Give freed memory back (restora.malloc) if it is to
    hold from the system's point of view.

    Raises OptionError if nothing is left of the limit once the networks have theirs.
    """

    restorer: Restorer
    limit: int | None = None
    processes: int = 1
    budget: Budget = field(init=False)
    decoders: Budget = field(init=False)

    def __post_init__(self) -> None:
        if self.limit is None:
            capacity = int(_SHARE * count_free_bytes() / self.processes)
        else:
            taken = int(psutil.Process().memory_info().rss) + _DECODER_BYTES
            taken += sum(bytes_of_network(*shape) for shape in self.restorer.iter_batches())
            capacity = self.limit - taken
            if capacity < _LEAST_BYTES:
                raise OptionError(
                    f"--memory must leave room beside the networks: they take {taken >> 20} MB, "
                    f"got {self.limit >> 20} MB; give {(taken + 8 * _LEAST_BYTES) >> 20}M or more, "
                    "or a smaller --tile"
                )
        object.__setattr__(self, "budget", Budget(capacity))
        object.__setattr__(self, "decoders", Budget(_MANY if self.limit is None else 1))

    def bytes_of_file(
        self,
        path: Path,
        outscale: float | None,
        limits: PhotoLimits,
        header: PhotoHeader | None = None,
    ) -> int:
        """By its size and header; what cannot be read, or will be refused, costs its file alone.

        header  of the file, if it was read already
        """
        of_file = FILE_COPIES * _size_of(path, limits)
        if self.limit is not None and of_file > self.budget.capacity:
            return of_file
        try:
            if header is None:
                with self.decoders.holding(1):
                    header = probe_isolated(path, limits=limits)
        except RestoraError:  # it is raised again when the photo is read
            return of_file
        if header.width * header.height > limits.max_pixels:
            return of_file
        restored = bytes_of_photo(
            header,
            scale=self.restorer.scale,
            outscale=outscale,
            pre_pad=self.restorer.options.pre_pad,
        )
        return max(restored + header.file_bytes, decode_bytes(header))

    def check(self, path: Path | str, needed: int) -> None:
        """Raise MemoryLimitError if what needs so many bytes would alone pass the limit."""
        if self.limit is not None and needed > self.budget.capacity:
            raise MemoryLimitError(
                f"{path} needs {needed >> 20} MB beside the networks, the limit leaves "
                f"{self.budget.capacity >> 20} MB: raise it (--memory)"
            )


def _size_of(path: Path, limits: PhotoLimits) -> int:
    """Of a regular file; 0 for what is refused without being read."""
    try:
        status = os.stat(path)  # noqa: PTH116  a path with a NUL byte raises ValueError
    except (OSError, ValueError):
        return 0
    readable = stat.S_ISREG(status.st_mode) and status.st_size <= limits.max_file_bytes
    return status.st_size if readable else 0

"""How much memory photos in flight may take together."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from restora.damage.tiles import TILE_PX
from restora.errors import MemoryLimitError, OptionError, RestoraError
from restora.image import PhotoHeader, PhotoLimits
from restora.image.decoder import FILE_COPIES, decode_bytes
from restora.image.isolated import probe_isolated
from restora.jobs.budget import Budget
from restora.jobs.sizes import bytes_of_photo, count_free_bytes
from restora.networks import OpenNetwork
from restora.pipeline import Restorer
from restora.tile_memory import bytes_of_network

_LEAST_BYTES = 1 << 24
_DECODER_BYTES = 48 << 20  # of a process that decodes, before it has a photo; measured: 41
_MANY = 1 << 30
_SHARE = 0.5  # of free memory, without a limit


@dataclass(frozen=True, slots=True)
class PhotoMemory:
    """The memory budget of photos in flight.

    restorer: the Restorer, with open networks
    limit: for the whole process and its decoders, in bytes; None: photos may take half of the
        free memory of the machine
    processes: the number of processes that share the free memory

    With a limit one photo is decoded at a time. The resident size stays below the limit only if
    malloc returns freed memory: see restora.malloc.

    Raises OptionError if the networks leave no room below the limit.
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
            taken += sum(map(_bytes_of, self.restorer.networks))
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
        """Estimate the memory that a photo takes. A photo that cannot be read, or will be refused,
        takes the size of its file.

        header: the header of the file, if it was read already
        """
        size = _size_of(path, limits) if header is None else header.file_bytes
        of_file = FILE_COPIES * size
        if self.limit is not None and of_file > self.budget.capacity:
            return of_file
        try:
            if header is None:
                with self.decoders.holding(1):
                    header = probe_isolated(path, limits=limits)
        except RestoraError:  # raised again when the photo is read
            return of_file
        if header.width * header.height > limits.max_pixels:
            return of_file
        restored = bytes_of_photo(
            header,
            scale=self.restorer.scale,
            outscale=outscale,
            pre_pad=self.restorer.options.pre_pad,
            repairs=self.restorer.repairs,
        )
        return max(restored + header.file_bytes, decode_bytes(header))

    def check(self, path: Path | str, needed: int) -> None:
        """Raise MemoryLimitError if a photo that needs so many bytes exceeds the limit alone."""
        if self.limit is not None and needed > self.budget.capacity:
            raise MemoryLimitError(
                f"{path} needs {needed >> 20} MB beside the networks, the limit leaves "
                f"{self.budget.capacity >> 20} MB: raise it (--memory)"
            )


def _bytes_of(network: OpenNetwork) -> int:
    """Face detectors and parsers take little."""
    if network.info.kind in ("damage-detector", "repairer"):
        return bytes_of_network(network.info, network.limits, TILE_PX**2)
    if network.stats is None:
        return 0
    return bytes_of_network(network.info, network.limits, network.call_px)


def _size_of(path: Path, limits: PhotoLimits) -> int:
    """The size of a regular file; 0 for a file that is refused without being read."""
    try:
        status = os.stat(path)  # noqa: PTH116  a path with a NUL byte raises ValueError
    except (OSError, ValueError):
        return 0
    readable = stat.S_ISREG(status.st_mode) and status.st_size <= limits.max_file_bytes
    return status.st_size if readable else 0

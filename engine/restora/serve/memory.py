"""How much memory photos in flight may take together, beside the networks of all models."""

from __future__ import annotations

from collections.abc import Sequence

from restora.errors import OptionError
from restora.image import PhotoHeader
from restora.image.decoder import decode_bytes
from restora.jobs.memory import PhotoMemory
from restora.jobs.sizes import bytes_of_photo
from restora.pipeline import Restorer
from restora.tile_memory import bytes_of_network

_LEAST_BYTES = 1 << 24


def count_capacity(restorers: Sequence[Restorer], limit: int | None) -> int:
    """Bytes for photos.

    limit: of the whole process and its decoders; None: photos may take half of the free memory

    Raises OptionError if the networks leave no room below the limit.
    """
    capacity = PhotoMemory(restorers[0], limit).budget.capacity
    if limit is None:
        return capacity
    for restorer in restorers[1:]:
        capacity -= sum(
            bytes_of_network(network.info, network.limits, network.call_px)
            for network in restorer.networks
            if network.stats is not None
        )
    if capacity < _LEAST_BYTES:
        raise OptionError(f"--memory {limit >> 20}M leaves no room beside the networks: give more")
    return capacity


def bytes_for(header: PhotoHeader, restorer: Restorer, outscale: float | None) -> int:
    """Estimate the memory of one photo, from the first byte read to the last one encoded."""
    restored = bytes_of_photo(
        header, scale=restorer.scale, outscale=outscale, pre_pad=restorer.options.pre_pad
    )
    return max(restored + header.file_bytes, decode_bytes(header))

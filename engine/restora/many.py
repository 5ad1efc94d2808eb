"""Restore many photos: several are under way at once, and results come in order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from restora.errors import DeviceLostError, MemoryLimitError, RestoraError
from restora.image import Photo, PhotoHeader, probe_file, probe_photo
from restora.jobs.budget import Budget
from restora.jobs.scheduler import Bounds, run_flow
from restora.jobs.sizes import count_free_bytes
from restora.networks import OpenNetwork, max_in_flight, slots_for
from restora.photo_io import PhotoLike, photo_from
from restora.restoration import Restoration

OnError = Literal["raise", "return"]

_DECODED_AHEAD = 2  # photos that are read while the networks are busy with others
_MEMORY_SHARE = 0.5  # of what is free


def restore_in_order(
    photos: Iterable[PhotoLike],
    restore: Callable[[Photo], Restoration],
    networks: Callable[[], Sequence[OpenNetwork]],
    *,
    bytes_of: Callable[[PhotoHeader], int],
    is_closed: Callable[[], bool],
    on_error: OnError,
) -> Iterator[Restoration | RestoraError]:
    """Yield one result per photo, in order; what Restorer.restore_many promises.

    restore: called in threads, on photos that fill the slots of the networks
    networks: those that are open now
    bytes_of: the memory that a photo takes until its result is taken
    is_closed: whether the Restorer was closed meanwhile
    """
    slots = Budget(max_in_flight(networks()))

    def work(item: PhotoLike) -> Restoration | RestoraError:
        try:
            photo = photo_from(item)
            with slots.holding(slots_for(networks(), photo.width, photo.height)):
                return restore(photo)
        except RestoraError as error:
            lost = isinstance(error, DeviceLostError) or is_closed()
            if on_error == "raise" or lost:  # the next photo would fail too
                raise
            return error
        except MemoryError as error:
            failure = MemoryLimitError(
                "the photo needs more memory than there is; use smaller tiles"
            )
            if on_error == "raise":
                raise failure from error
            return failure

    bounds: Bounds[PhotoLike] = Bounds(
        items=slots.capacity + _DECODED_AHEAD,
        memory=Budget(int(_MEMORY_SHARE * count_free_bytes())),
        bytes_of=lambda item: _bytes_of(item, bytes_of),
    )
    flow = run_flow(photos, work, bounds, in_order=True)
    with contextlib.closing(flow):
        for _, result in flow:
            yield result


def _bytes_of(item: PhotoLike, bytes_of: Callable[[PhotoHeader], int]) -> int:
    """By its header; 0 for what cannot be read, which fails when its turn comes."""
    try:
        header = _header_of(item)
    except RestoraError:
        return 0
    return 0 if header is None else bytes_of(header) + header.file_bytes


def _header_of(item: PhotoLike) -> PhotoHeader | None:
    """None where it cannot be known without reading: a file object."""
    if isinstance(item, str | os.PathLike):
        return probe_file(Path(item))
    if isinstance(item, bytes | bytearray | memoryview):
        return probe_photo(bytes(item))
    if isinstance(item, Photo):
        pixels, channels = item.pixels, (1 if item.is_gray else 3) + (item.alpha is not None)
    elif hasattr(item, "__array_interface__"):
        pixels = np.asarray(item)
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
    else:
        return None
    if pixels.ndim < 2:
        return None  # it is refused when its turn comes
    height, width = pixels.shape[:2]
    return PhotoHeader(width, height, "array", channels, 8 * pixels.dtype.itemsize)

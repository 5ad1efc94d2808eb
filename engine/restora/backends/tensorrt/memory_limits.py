"""Choose the sizes of plans by the network and the memory of the GPU.

The largest tensors of an upsampler are the features after its last upsampling: 64 channels times
(scale x height) x (scale x width). The scratch memory of a plan is a few of them for the largest
tile of its profile, on TensorRT 8.6 even if all tiles are smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

from restora.artifact import ArtifactInfo, Precision
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.profiles import MAX_ELEMENTS, Profile, plan_profiles

TILE = 512
MAX_TILE = 1024  # larger tiles save no work: the overlap is below 10 % of a tile then
_TENSORS = 3  # input and output of a layer, and a copy in another format
_CHANNELS = 64
_STEP = 64
_FP32_FEATURES: tuple[Precision, ...] = ("fp32", "mixed", "int8")


def profiles_on(
    device: Device,
    info: ArtifactInfo,
    precision: Precision,
    *,
    tile: int | None = None,
    batches: Sequence[int] | None = None,
    max_tile: int | None = None,
) -> tuple[Profile, ...]:
    """plan_profiles with defaults: tiles as large as the memory allows, at most 1024; full tiles of
    at most 512, one per call, or for a network with a fixed side 1 and 4 of that side.

    Raises the errors of plan_profiles.
    """
    if max_tile is None:
        allowed = choose_max_tile(
            info,
            precision=precision,
            memory_bytes=device.memory_bytes,
            integrated=device.integrated,
        )
        max_tile = max(allowed, tile or 0)
    if tile is None:
        tile = min(TILE // info.size_multiple * info.size_multiple, max_tile)
    if batches is None:
        batches = (1,) if info.side is None else (1, 4)
    return plan_profiles(info, tile=tile, batches=batches, max_tile=max_tile)


def choose_max_tile(
    info: ArtifactInfo, *, precision: Precision, memory_bytes: int, integrated: bool
) -> int:
    """The largest side of tiles, in pixels: at most 1024, and a multiple of 64 or, if smaller, of
    info.size_multiple.

    precision: that of the features
    memory_bytes: the memory of the GPU
    integrated: whether the GPU shares its memory with the CPU, as on a Jetson
    """
    if info.side is not None:
        return info.side
    share = memory_bytes // (4 if integrated else 3)
    elements = info.elements_per_pixel or _CHANNELS * info.scale**2
    pixel_bytes = elements * (4 if precision in _FP32_FEATURES else 2) * _TENSORS
    side = int(min(share / pixel_bytes, MAX_ELEMENTS / elements) ** 0.5)
    multiple = info.size_multiple
    step = _STEP if side >= _STEP and _STEP % multiple == 0 else multiple
    return max(multiple, min(MAX_TILE, side) // step * step)

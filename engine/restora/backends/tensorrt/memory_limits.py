"""Choose the largest tile that a plan accepts by the memory of the GPU.

The largest tensors of an upsampler are the features after its last upsampling: 64 channels times
(scale x height) x (scale x width). The scratch memory of a plan is a few of them for the largest
tile of its profile, on TensorRT 8.6 even if all tiles are smaller.
"""

from __future__ import annotations

from restora.artifact import ArtifactInfo, Precision
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.profiles import MAX_ELEMENTS

MAX_TILE = 1024  # larger tiles save no work: the overlap is below 10 % of a tile then
_TENSORS = 3  # input and output of a layer, and a copy in another format
_CHANNELS = 64
_STEP = 64
_FP32_FEATURES: tuple[Precision, ...] = ("fp32", "mixed", "int8")


def max_tile_on(device: Device, info: ArtifactInfo, precision: Precision) -> int:
    """See choose_max_tile."""
    return choose_max_tile(
        info,
        precision=precision,
        memory_bytes=device.memory_bytes,
        integrated=device.integrated,
    )


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

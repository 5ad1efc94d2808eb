"""The CUDA kernels of restora: one cuts a batch of tiles out of a photo, one blends their results.

A batch takes three operations on the device: gather, network, blend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact import Io
from restora.backends.tensorrt.bindings import CudaCallError, call
from restora.backends.tensorrt.cuda import Device
from restora.errors import RestoraError
from restora.tiling import TilePlan, place_span
from restora.tiling.grid import Span

GATHER, BLEND = "gather_tiles", "blend_tiles"
# The arithmetic intrinsics are never fused, so the result equals that of the CPU bit by bit.
SOURCE = """
// One row or column of tiles, see tile_kernels.py
struct Span { int source, offset, fade_begin, copy_begin, next_fade, end; };

extern "C" __global__ void gather_tiles(
    const PIXEL *photo, PIXEL *batch, const Span *rows, const Span *cols,
    long long pitch, int first, int columns, int tall, int wide)
{
    int index = blockIdx.z, y = blockIdx.y, number = first + index;
    const PIXEL *from = photo + (rows[number / columns].source + y) * pitch
        + cols[number % columns].source * 3;
    PIXEL *to = batch + ((long long)index * tall + y) * wide * 3;
    int lane = blockIdx.x * blockDim.x + threadIdx.x;
    for (int at = lane; at < wide * 3; at += gridDim.x * blockDim.x) to[at] = from[at];
}

__device__ PIXEL fade(PIXEL older, PIXEL newer, float weight)
{
    float from = older, to = newer;
    return ROUND(__fadd_rn(from, __fmul_rn(__fsub_rn(to, from), weight)));
}

// A pixel of a row of tiles: of tile `index` of the batch, faded into the tile on its left.
__device__ PIXEL blend_along_row(
    const PIXEL *tiles, const PIXEL *seam_in, const Span *cols, const float *col_ramp,
    int index, int column, int y, int x, int channel, int tall, int wide, int seam)
{
    const Span col = cols[column];
    const PIXEL *tile = tiles + ((long long)index * tall + y) * wide * 3;
    PIXEL newer = tile[(x - col.offset) * 3 + channel];
    if (x >= col.copy_begin) return newer;
    PIXEL older = index > 0
        ? tile[((x - cols[column - 1].offset) - (long long)tall * wide) * 3 + channel]
        : seam_in[((long long)y * seam + x - col.fade_begin) * 3 + channel];
    return fade(older, newer, col_ramp[x - col.fade_begin]);
}

// Each pixel of the canvas is written by the last tile of the batch that covers it. Across a seam
// this tile reads its neighbors: in the batch, or what an earlier batch left in the canvas (above)
// and in seam_in (on the left).
extern "C" __global__ void blend_tiles(
    const PIXEL *tiles, const float *batch_means, PIXEL *canvas, float *means,
    const PIXEL *seam_in, PIXEL *seam_out, const Span *rows, const Span *cols,
    const float *row_ramp, const float *col_ramp, long long pitch,
    int first, int count, int columns, int tall, int wide, int seam)
{
    int index = blockIdx.z, y = blockIdx.y, number = first + index, column = number % columns;
    const Span row = rows[number / columns], col = cols[column];
    int lane = blockIdx.x * blockDim.x + threadIdx.x;
    if (y == 0 && lane < 3) means[number * 3 + lane] = batch_means[index * 3 + lane];
    int canvas_y = y + row.offset;
    if (canvas_y < row.fade_begin || canvas_y >= row.end) return;
    bool written_below = canvas_y >= row.next_fade && index + columns < count;
    for (int at = lane; at < wide * 3; at += gridDim.x * blockDim.x) {
        int x = at / 3 + col.offset, channel = at % 3;
        if (x < col.fade_begin || x >= col.end) continue;
        if (x >= col.next_fade) {
            // the tile on the right writes it; if that is in the next batch, it needs this one
            if (index + 1 == count)
                seam_out[((long long)y * seam + x - col.next_fade) * 3 + channel]
                    = tiles[((long long)index * tall + y) * wide * 3 + at];
            continue;
        }
        if (written_below) continue;
        PIXEL *target = canvas + canvas_y * pitch + x * 3 + channel;
        PIXEL value = blend_along_row(
            tiles, seam_in, cols, col_ramp, index, column, y, x, channel, tall, wide, seam);
        if (canvas_y < row.copy_begin) {
            PIXEL older = *target;
            if (index >= columns)
                older = blend_along_row(
                    tiles, seam_in, cols, col_ramp, index - columns, column,
                    canvas_y - rows[number / columns - 1].offset, x, channel, tall, wide, seam);
            value = fade(older, value, row_ramp[canvas_y - row.fade_begin]);
        }
        *target = value;
    }
}
"""
_TYPES: dict[Io, tuple[str, str]] = {
    "uint8": ("unsigned char", "(unsigned char)__float2int_rn"),
    "float32": ("float", ""),
}
_THREADS = 256
_VALUES_PER_THREAD = 4
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class TileTables:
    """Device addresses of the tables of one photo, which `pack_tables` packs.

    rows, cols: one Span for each row and column of tiles
    row_ramp, col_ramp: float32 weights of the seams
    """

    rows: int
    cols: int
    row_ramp: int
    col_ramp: int

    @classmethod
    def at(cls, address: int, plan: TilePlan) -> TileTables:
        """The tables of a plan whose packed bytes are at `address`."""
        sizes = [24 * len(plan.rows), 24 * len(plan.cols), 4 * len(plan.row_ramp)]
        return cls(address, *(address + sum(sizes[: n + 1]) for n in range(3)))


def pack_tables(plan: TilePlan, scale: int) -> NDArray[np.uint8]:
    """Pack the tables of a plan into one array of bytes for the device."""
    parts = (
        _spans(plan.rows, scale, len(plan.row_ramp)),
        _spans(plan.cols, scale, len(plan.col_ramp)),
        plan.row_ramp,
        plan.col_ramp,
    )
    return np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])


def _spans(spans: Sequence[Span], scale: int, ramp_length: int) -> NDArray[np.int32]:
    """The fields of Span in the kernels, (tiles, 6): source in input pixels, all others in output
    pixels; next_fade is where the next tile begins to fade in, or the end of the canvas."""
    placed = [place_span(span, scale=scale, ramp_length=ramp_length) for span in spans]
    following = [patch.fade_begin for patch in placed[1:]] + [placed[-1].end]
    return np.array(
        [
            (span.start, patch.offset, patch.fade_begin, patch.copy_begin, fade, patch.end)
            for span, patch, fade in zip(spans, placed, following, strict=True)
        ],
        np.int32,
    )


class TileKernels:
    """The kernels, compiled for one device and one pixel type.

    nvrtc: the module cuda.bindings.nvrtc

    Raises CudaCallError with the messages of the compiler, or DeviceLostError.
    """

    def __init__(self, device: Device, nvrtc: Any, io: Io) -> None:
        self._device = device
        binary = compile_kernels(nvrtc, device.architecture, io)
        with device.errors("loading the kernels for tiles"):
            self._module = device.cuda.module_from_buffer(binary)
            self._gather = self._module.get_function(GATHER)
            self._gather.prepare("PPPPqiiii")
            self._blend = self._module.get_function(BLEND)
            self._blend.prepare("PPPPPPPPPPqiiiiii")

    def gather(
        self,
        stream: Any,
        tables: TileTables,
        *,
        photo: int,
        batch: int,
        photo_width: int,
        tiles: range,
        columns: int,
        shape: tuple[int, int],
    ) -> None:
        """Copy tiles from the photo to a contiguous batch.

        photo, batch: device addresses
        tiles: their numbers, row by row
        columns: tiles in a row of tiles
        shape: height and width of a tile in input pixels
        """
        with self._device.errors("copying tiles on the GPU"):
            self._gather.prepared_async_call(
                *_grid(len(tiles), *shape),
                stream,
                *(photo, batch, tables.rows, tables.cols),
                photo_width * _CHANNELS,
                *(tiles.start, columns, *shape),
            )

    def blend(
        self,
        stream: Any,
        tables: TileTables,
        *,
        results: tuple[int, int],
        canvas: int,
        means: int,
        seams: tuple[int, int],
        canvas_width: int,
        tiles: range,
        columns: int,
        shape: tuple[int, int],
        seam: int,
    ) -> None:
        """Blend the results of a batch into the canvas, and copy its channel means.

        results: device addresses of the result and the channel means of the network
        canvas, means: device addresses for all tiles of the photo
        seams: device addresses of the right edge of the previous batch, and for that of this one:
            (shape[0], seam, 3)
        shape: height and width of a tile in output pixels
        seam: width of the ramp between columns of tiles, in output pixels
        """
        with self._device.errors("blending tiles"):
            self._blend.prepared_async_call(
                *_grid(len(tiles), *shape),
                stream,
                *(*results, canvas, means, *seams),
                *(tables.rows, tables.cols, tables.row_ramp, tables.col_ramp),
                canvas_width * _CHANNELS,
                *(tiles.start, len(tiles), columns, *shape, seam),
            )


def compile_kernels(nvrtc: Any, architecture: str, io: Io) -> bytes:
    """Compile the kernels for an architecture such as "sm_90".

    For a GPU that is newer than the compiler, the result is PTX, which the driver compiles. Raises
    CudaCallError.
    """
    source = source_for(io)
    target = _find_target(nvrtc, architecture)
    program = call(nvrtc.nvrtcCreateProgram, source.encode(), b"tiles.cu", 0, [], [])
    try:
        options = [f"--gpu-architecture={target}".encode()]
        try:
            call(nvrtc.nvrtcCompileProgram, program, len(options), options)
        except RestoraError as error:
            size = call(nvrtc.nvrtcGetProgramLogSize, program)
            words = b" " * int(size)
            call(nvrtc.nvrtcGetProgramLog, program, words)
            raise CudaCallError(f"{error}: {words.decode(errors='replace').strip()}") from error
        get_size, get = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if target == architecture
            else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        binary = b" " * int(call(get_size, program))
        call(get, program, binary)
    finally:
        call(nvrtc.nvrtcDestroyProgram, program)
    return binary


def _find_target(nvrtc: Any, architecture: str) -> str:
    """The architecture itself, or the newest virtual one that the compiler knows below it."""
    wanted = int(architecture.removeprefix("sm_"))
    known = [int(number) for number in call(nvrtc.nvrtcGetSupportedArchs)]
    older = [number for number in known if number < wanted]
    return architecture if wanted in known or not older else f"compute_{max(older)}"


def source_for(io: Io) -> str:
    pixel, rounding = _TYPES[io]
    return f"#define PIXEL {pixel}\n#define ROUND {rounding}\n{SOURCE}"


def _grid(count: int, tall: int, wide: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Blocks and threads: one row of blocks for each row of each tile."""
    blocks = -(-wide * _CHANNELS // (_THREADS * _VALUES_PER_THREAD))
    return (blocks, tall, count), (_THREADS, 1, 1)

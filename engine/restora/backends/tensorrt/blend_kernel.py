"""The only CUDA kernel of restora: it blends a tile into the canvas."""

from __future__ import annotations

from typing import Any

from restora.artifact import Io
from restora.backends.tensorrt.bindings import CudaCallError, call
from restora.backends.tensorrt.cuda import Device
from restora.errors import RestoraError

KERNEL = "fade_in"
# These intrinsics are never fused, so the result equals that of the CPU bit by bit.
SOURCE = """
extern "C" __global__ void fade_in(
    PIXEL *canvas, const PIXEL *piece, const float *ramp,
    long long canvas_pitch, long long piece_pitch, int rows, int columns, int channels,
    int along_rows)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= rows || column >= columns * channels) return;
    PIXEL *target = canvas + row * canvas_pitch + column;
    float weight = ramp[along_rows ? row : column / channels];
    float older = *target;
    float newer = piece[row * piece_pitch + column];
    float mixed = __fadd_rn(older, __fmul_rn(__fsub_rn(newer, older), weight));
    *target = ROUND(mixed);
}
"""
_TYPES: dict[Io, tuple[str, str]] = {
    "uint8": ("unsigned char", "(unsigned char)__float2int_rn"),
    "float32": ("float", ""),
}
_BLOCK = (32, 8, 1)
_CHANNELS = 3


class BlendKernel:
    """The kernel, compiled for one device and one pixel type.

    nvrtc: the module cuda.bindings.nvrtc

    Raises CudaCallError with the messages of the compiler, or DeviceLostError.
    """

    def __init__(self, device: Device, nvrtc: Any, io: Io) -> None:
        self._device = device
        binary = compile_kernel(nvrtc, device.architecture, io)
        with device.errors("loading the blend kernel"):
            self._module = device.cuda.module_from_buffer(binary)
            self._function = self._module.get_function(KERNEL)
            self._function.prepare("PPPqqiiii")

    def launch(
        self,
        stream: Any,
        *,
        canvas: int,
        piece: int,
        ramp: int,
        canvas_pitch: int,
        piece_pitch: int,
        rows: int,
        columns: int,
        along_rows: bool,
    ) -> None:
        """Blend `piece` into `canvas`: rows x columns pixels, starting at these addresses.

        ramp: address of float32 weights, one for each row or column
        canvas_pitch, piece_pitch: pixels from one row to the next
        along_rows: the weight changes from row to row; otherwise from column to column
        """
        wide = columns * _CHANNELS
        grid = (-(-wide // _BLOCK[0]), -(-rows // _BLOCK[1]), 1)
        pitches = (canvas_pitch * _CHANNELS, piece_pitch * _CHANNELS)
        sizes = (rows, columns, _CHANNELS, int(along_rows))
        with self._device.errors("blending tiles"):
            self._function.prepared_async_call(
                grid, _BLOCK, stream, canvas, piece, ramp, *pitches, *sizes
            )


def compile_kernel(nvrtc: Any, architecture: str, io: Io) -> bytes:
    """Compile the kernel for an architecture such as "sm_90". Raises CudaCallError."""
    source = source_for(io)
    program = call(nvrtc.nvrtcCreateProgram, source.encode(), b"blend.cu", 0, [], [])
    try:
        options = [f"--gpu-architecture={architecture}".encode()]
        try:
            call(nvrtc.nvrtcCompileProgram, program, len(options), options)
        except RestoraError as error:
            size = call(nvrtc.nvrtcGetProgramLogSize, program)
            words = b" " * int(size)
            call(nvrtc.nvrtcGetProgramLog, program, words)
            raise CudaCallError(f"{error}: {words.decode(errors='replace').strip()}") from error
        binary = b" " * int(call(nvrtc.nvrtcGetCUBINSize, program))
        call(nvrtc.nvrtcGetCUBIN, program, binary)
    finally:
        call(nvrtc.nvrtcDestroyProgram, program)
    return binary


def source_for(io: Io) -> str:
    pixel, rounding = _TYPES[io]
    return f"#define PIXEL {pixel}\n#define ROUND {rounding}\n{SOURCE}"

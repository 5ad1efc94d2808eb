"""Facts about the CUDA kernels: their very source, compiled for the CPU, blends as the CPU does."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernel_double
from cuda_bindings_double import FakeNvrtc
from pycuda_double import FakeCuda
from restora.backends.tensorrt.bindings import CudaCallError
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.memory import DeviceBuffer
from restora.backends.tensorrt.tile_kernels import (
    TileKernels,
    TileTables,
    compile_kernels,
    pack_tables,
    source_for,
)
from restora.tiling import Tiling, plan_tiles, run_tiles

SCALE = 2
_SHIM = """
#include <cmath>
#define __global__
#define __device__
#define __fadd_rn(a, b) ((a) + (b))
#define __fsub_rn(a, b) ((a) - (b))
#define __fmul_rn(a, b) ((a) * (b))
#define __float2int_rn(a) ((int)nearbyintf(a))
struct Index { int x, y, z; };
static Index blockIdx, blockDim, threadIdx, gridDim;
"""
_LAUNCH = """
// blocks run in any order on a GPU: here from the first to the last or the other way round
#define EACH(i, n) for (int step = 0; step < n && (i = n_is(n, step), true); ++step)
static int backwards;
static int n_is(int n, int step) { return backwards ? n - 1 - step : step; }
extern "C" void run_backwards(int value) { backwards = value; }
#define LAUNCH(name, kernel) \\
    extern "C" void name( \\
        const int *grid, const int *block, void *const *p, long long pitch, const int *n) { \\
        gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]}; \\
        EACH(blockIdx.z, grid[2]) EACH(blockIdx.y, grid[1]) EACH(blockIdx.x, grid[0]) \\
        EACH(threadIdx.z, block[2]) EACH(threadIdx.y, block[1]) EACH(threadIdx.x, block[0]) \\
            kernel; }
LAUNCH(launch_gather, gather_tiles((const PIXEL *)p[0], (PIXEL *)p[1], (const Span *)p[2],
    (const Span *)p[3], pitch, n[0], n[1], n[2], n[3]))
LAUNCH(launch_blend, blend_tiles((const PIXEL *)p[0], (const float *)p[1], (PIXEL *)p[2],
    (float *)p[3], (const PIXEL *)p[4], (PIXEL *)p[5], (const Span *)p[6], (const Span *)p[7],
    (const float *)p[8], (const float *)p[9], pitch, n[0], n[1], n[2], n[3], n[4], n[5]))
"""


@pytest.fixture(scope="module", params=["uint8", "float32"])
def compiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ctypes.CDLL]:
    """The type of pixels, and the source of the kernels as a library."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("kernels")
    source, library = folder / "tiles.cpp", folder / "tiles.so"
    source.write_text(_SHIM + source_for(request.param) + _LAUNCH)
    command = ["g++", "-O1", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True)
    return request.param, ctypes.CDLL(str(library))


class _Source(kernel_double._Kernel):
    """A kernel of the double that runs the compiled source."""

    library: ctypes.CDLL

    def compute(self, grid: Any, block: Any, *arguments: Any) -> None:
        count = self.types.count("P")
        addresses = [self._pointer(address) for address in arguments[:count]]
        getattr(self.library, f"launch_{self.name.partition('_')[0]}")(
            (ctypes.c_int * 3)(*grid),
            (ctypes.c_int * 3)(*block),
            (ctypes.c_void_p * count)(*addresses),
            ctypes.c_longlong(arguments[count]),
            (ctypes.c_int * len(arguments[count + 1 :]))(*arguments[count + 1 :]),
        )

    def _pointer(self, address: int) -> int:
        """Where the double keeps the memory of this address; an empty table has none."""
        try:
            return int(self._cuda.at(address, 1).ctypes.data)
        except FakeCuda.Error:
            self._cuda.lost = False
            return 0


def as_kernels(library: ctypes.CDLL) -> dict[str, Any]:
    return {
        kernel.name: type(
            kernel.__name__,
            (_Source,),
            {"name": kernel.name, "types": kernel.types, "library": library},
        )
        for kernel in (kernel_double.Gather, kernel_double.Blend)
    }


def enlarge(batch: np.ndarray) -> np.ndarray:
    """A network that distinguishes tiles at their seams: it brightens them along their columns."""
    large = batch.repeat(SCALE, axis=1).repeat(SCALE, axis=2).astype(np.float32)
    slope = np.arange(large.shape[2], dtype=np.float32).reshape(1, 1, -1, 1) / large.shape[2]
    slope = slope + np.arange(large.shape[1], dtype=np.float32).reshape(1, -1, 1, 1) / 7
    if batch.dtype == np.uint8:
        return ((large + slope * 40) % 256).astype(np.uint8)
    return large + slope


def restore(image: np.ndarray, tiling: Tiling, batch: int) -> np.ndarray:
    """Restore an image in batches on the double, with the kernels alone."""
    cuda = FakeCuda()
    device = Device(cuda)
    height, width, _ = image.shape
    plan = plan_tiles(height, width, tiling, multiple=2, scale=SCALE)
    columns, count = len(plan.cols), len(plan.rows) * len(plan.cols)
    item = image.itemsize
    with device.current():
        kernels = TileKernels(device, FakeNvrtc(), str(image.dtype))  # type: ignore[arg-type]
        stream = device.make_stream()
        packed = pack_tables(plan, SCALE)
        contents = {"photo": image, "tables": packed}
        buffers = {name: DeviceBuffer(device, name) for name in ("photo", "tables", "canvas")}
        at = {name: buffers[name].of_size(array.nbytes) for name, array in contents.items()}
        for name, array in contents.items():
            cuda.memcpy_htod_async(at[name], array, stream)
        tables = TileTables.at(at["tables"], plan)
        canvas = buffers["canvas"].of_size(image.nbytes * SCALE**2)
        tallest = max(span.stop - span.start for span in plan.rows) * SCALE
        seam_bytes = tallest * len(plan.col_ramp) * 3 * item
        seams = DeviceBuffer(device, "seams").of_size(2 * seam_bytes)
        means = DeviceBuffer(device, "means").of_size(count * 12)
        swap, done = False, 0
        expected_means = []
        for tiles in plan.iter_runs():
            for start in range(0, len(tiles), batch):
                part = tiles[start : start + batch]
                tall, wide = part[0].shape
                numbers = range(done, done + len(part))
                cut = DeviceBuffer(device, "batch").of_size(len(part) * tall * wide * 3 * item)
                kernels.gather(
                    stream,
                    tables,
                    photo=at["photo"],
                    batch=cut,
                    photo_width=width,
                    tiles=numbers,
                    columns=columns,
                    shape=(tall, wide),
                )
                stream.synchronize()
                size = len(part) * tall * wide * 3 * item
                stack = cuda.at(cut, size).view(image.dtype).reshape(len(part), tall, wide, 3)
                result = enlarge(stack)
                one = result.mean((1, 2)).astype(np.float32)
                expected_means.append(one)
                answer = DeviceBuffer(device, "answer").of_size(result.nbytes)
                batch_means = DeviceBuffer(device, "batch means").of_size(one.nbytes)
                cuda.memcpy_htod_async(answer, result, stream)
                cuda.memcpy_htod_async(batch_means, one, stream)
                pair = (seams, seams + seam_bytes)
                kernels.blend(
                    stream,
                    tables,
                    results=(answer, batch_means),
                    canvas=canvas,
                    means=means,
                    seams=pair if swap else pair[::-1],
                    canvas_width=width * SCALE,
                    tiles=numbers,
                    columns=columns,
                    shape=(tall * SCALE, wide * SCALE),
                    seam=len(plan.col_ramp),
                )
                swap, done = not swap, done + len(part)
        stream.synchronize()
        got_means = cuda.at(means, count * 12).view(np.float32).reshape(count, 3)
        assert np.array_equal(got_means, np.concatenate(expected_means))
        shape = (height * SCALE, width * SCALE, 3)
        size = image.nbytes * SCALE**2
        return cuda.at(canvas, size).view(image.dtype).reshape(shape).copy()


GEOMETRIES = {
    "height": st.integers(4, 40),
    "width": st.integers(4, 40),
    "tile": st.sampled_from([12, 16, 24]),
    "overlap": st.sampled_from([0, 4, 8]),
    "blend": st.sampled_from(["linear", "cosine", "crop"]),
    "batch": st.integers(1, 9),
    "fixed": st.booleans(),
}


def check(io: str, **geometry: Any) -> None:
    height, width, batch = (geometry.pop(name) for name in ("height", "width", "batch"))
    size = geometry.pop("tile")
    tiling = Tiling(size=size, **geometry)
    values = np.random.default_rng(height * width).integers(0, 256, (height * 2, width * 2, 3))
    image = values.astype(np.uint8) if io == "uint8" else (values / 255).astype(np.float32)
    expected = run_tiles(image, enlarge, scale=SCALE, tiling=tiling, multiple=2)
    assert np.array_equal(restore(image, tiling, batch), expected)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(backwards=st.booleans(), **GEOMETRIES)
def test_the_source_of_the_kernels_blends_as_the_cpu_does_bit_by_bit(
    compiled: tuple[str, ctypes.CDLL], backwards: bool, **geometry: Any
) -> None:
    io, library = compiled
    library.run_backwards(int(backwards))
    with pytest.MonkeyPatch.context() as patch:
        for name, kernel in as_kernels(library).items():
            patch.setitem(kernel_double.KERNELS, name, kernel)
        check(io, **geometry)


@settings(max_examples=20, deadline=None)
@given(io=st.sampled_from(["uint8", "float32"]), **GEOMETRIES)
def test_the_double_of_the_kernels_blends_as_the_cpu_does(io: str, **geometry: Any) -> None:
    check(io, **geometry)


def test_the_compiler_makes_machine_code_for_a_gpu_that_it_knows() -> None:
    nvrtc = FakeNvrtc()
    assert compile_kernels(nvrtc, "sm_87", "uint8").startswith(b"CUBIN")
    assert nvrtc.options == [b"--gpu-architecture=sm_87"]


def test_for_a_newer_gpu_the_driver_compiles_the_code_of_an_older_one() -> None:
    nvrtc = FakeNvrtc()
    assert compile_kernels(nvrtc, "sm_120", "uint8").startswith(b"//PTX")
    assert nvrtc.options == [b"--gpu-architecture=compute_90"]


def test_an_older_gpu_than_any_that_the_compiler_knows_is_an_error_of_the_compiler() -> None:
    nvrtc = FakeNvrtc("nvrtc: error: invalid value for --gpu-architecture (-arch)")
    with pytest.raises(CudaCallError, match="invalid value for --gpu-architecture"):
        compile_kernels(nvrtc, "sm_53", "uint8")
    assert nvrtc.options == [b"--gpu-architecture=sm_53"]

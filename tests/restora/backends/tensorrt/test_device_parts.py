"""Facts about the parts of the device path: pinned rings, the blend kernel, timing caches."""

from __future__ import annotations

import ctypes
import logging
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycuda_double import FakeCuda
from restora.backends.tensorrt.blend_kernel import KERNEL, source_for
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.cuda_errors import LOST, error_of_code
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.memory import DeviceBuffer, PinnedRing
from restora.backends.tensorrt.timing import TimingCacheFile
from restora.errors import DeviceLostError, DeviceMemoryError, HostMemoryError, SessionError

FACTS = DeviceFacts("NVIDIA Double", "9.0", 132, 1 << 30, 120400, "10.16")


@given(size=st.integers(1, 300), blocks=st.integers(1, 4), block=st.integers(1, 64))
def test_a_ring_carries_any_size_through_a_few_small_blocks(
    size: int, blocks: int, block: int
) -> None:
    cuda = FakeCuda()
    device = Device(cuda)
    with device.current():
        ring = PinnedRing(device, blocks=blocks, block_bytes=block)
        there, back = cuda.Stream(), cuda.Stream()
        memory = DeviceBuffer(device, "a test")
        source = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        before = source.copy()
        ring.upload(memory.of_size(size), source, there)
        source[:] = 0  # the caller may use its array again at once
        uploaded = cuda.Event()
        uploaded.record(there)
        back.wait_for_event(uploaded)
        result = np.empty(size, np.uint8)
        ring.download(result, memory.address, back)
        assert np.array_equal(result, before)
        ring.free()
        memory.free()
        del ring, there, back, uploaded
    assert cuda.live == 0


def test_a_buffer_grows_and_does_not_shrink() -> None:
    cuda = FakeCuda()
    device = Device(cuda)
    with device.current():
        buffer = DeviceBuffer(device, "a test")
        first = buffer.of_size(100)
        assert buffer.of_size(50) == first
        assert buffer.of_size(200) != first
        assert cuda.live == 1
        buffer.free()
        buffer.free()
    assert cuda.live == 0


def test_a_gpu_is_retained_once_and_no_context_stays_current() -> None:
    cuda = FakeCuda(gpus=2)

    def open_and_close() -> None:
        device = Device(cuda)
        with device.current():
            assert cuda.current == 0
        device.close()

    for _ in range(20):
        open_and_close()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(open_and_close).result()
    assert cuda.retained == 1
    assert cuda.current is None
    Device(cuda, 1)
    assert cuda.retained == 2


@pytest.mark.parametrize("code", sorted(LOST))
def test_an_error_that_ends_a_context_is_a_lost_gpu(code: int) -> None:
    device = Device(FakeCuda())
    message = f"cuMemcpyDtoHAsync failed: {LOST[code]}"
    with pytest.raises(DeviceLostError, match="start a new one"), device.errors("copying"):
        raise device.cuda.LogicError(message)
    with pytest.raises(DeviceLostError):
        raise error_of_code(code, "launching", "cuGraphLaunch failed")


def test_any_other_error_concerns_one_call() -> None:
    device = Device(FakeCuda())
    with pytest.raises(SessionError, match="failed while copying: .*invalid argument") as found:
        with device.errors("copying"):
            raise device.cuda.LogicError("cuMemcpyDtoHAsync failed: invalid argument")
    assert not isinstance(found.value, DeviceLostError)
    assert not isinstance(error_of_code(1, "launching", "invalid argument"), DeviceLostError)
    assert isinstance(error_of_code(2, "launching", "out of memory"), DeviceMemoryError)


def test_pinned_memory_that_is_full_is_the_memory_of_the_host() -> None:
    cuda = FakeCuda()
    device = Device(cuda)
    cuda.fail_at, cuda.fail_with = 0, cuda.MemoryError("out of memory")
    with device.current(), pytest.raises(HostMemoryError, match="smaller tiles do not help"):
        PinnedRing(device)


def test_streams_do_not_wait_for_the_default_stream() -> None:
    cuda = FakeCuda()
    device = Device(cuda)
    with device.current():
        assert not device.make_stream().blocking


def test_the_version_of_cuda_has_the_form_of_its_header() -> None:
    assert Device(FakeCuda()).facts("10.16").cuda_runtime == 12040


def test_waiting_threads_sleep_if_asked() -> None:
    device = Device(FakeCuda())
    with device.current():
        flags = device.cuda.event_flags
        assert device.make_event().flags == flags.DISABLE_TIMING
        assert device.make_event(blocking=True).flags & flags.BLOCKING_SYNC


_SHIM = """
#include <cmath>
#define __global__
#define __fadd_rn(a, b) ((a) + (b))
#define __fsub_rn(a, b) ((a) - (b))
#define __fmul_rn(a, b) ((a) * (b))
#define __float2int_rn(a) ((int)nearbyintf(a))
struct Index { int x, y; };
static Index blockIdx, blockDim, threadIdx;
"""
_LAUNCH = """
extern "C" void launch(int grid_x, int grid_y, int block_x, int block_y, PIXEL *canvas,
    const PIXEL *piece, const float *ramp, long long canvas_pitch, long long piece_pitch,
    int rows, int columns, int channels, int along_rows)
{
    blockDim = {block_x, block_y};
    for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x)
    for (threadIdx.y = 0; threadIdx.y < block_y; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < block_x; ++threadIdx.x)
        fade_in(canvas, piece, ramp, canvas_pitch, piece_pitch, rows, columns, channels,
                along_rows);
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("io", ["uint8", "float32"])
@pytest.mark.parametrize("along_rows", [0, 1])
def test_the_kernel_itself_computes_what_the_cpu_computes(
    tmp_path: Path, io: Any, along_rows: int
) -> None:
    """Its very source, compiled for the CPU."""
    source = source_for(io)
    assert KERNEL in source
    (tmp_path / "fade.cpp").write_text(_SHIM + source + _LAUNCH)
    library = tmp_path / "fade.so"
    command = ["g++", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(tmp_path / "fade.cpp")], check=True)
    launch = ctypes.CDLL(str(library)).launch
    rng = np.random.default_rng(0)
    rows, columns, channels = 13, 21, 3
    white = 256 if io == "uint8" else 1
    canvas = (rng.random((rows, 40, channels)) * white).astype(io)
    piece = (rng.random((rows, 30, channels)) * white).astype(io)
    ramp = np.linspace(0, 1, rows if along_rows else columns, dtype=np.float32)
    weights = ramp.reshape((-1, 1, 1) if along_rows else (1, -1, 1))
    older, newer = (a[:, :columns].astype(np.float32) for a in (canvas, piece))
    mixed = older + (newer - older) * weights
    expected = canvas.copy()
    expected[:, :columns] = np.rint(mixed) if io == "uint8" else mixed
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (canvas, piece, ramp)]
    pitches = [ctypes.c_longlong(array.shape[1] * channels) for array in (canvas, piece)]
    launch(2, 2, 32, 8, *pointers, *pitches, rows, columns, channels, along_rows)
    assert np.array_equal(canvas, expected)


def test_timings_are_kept_for_one_kind_of_gpu_and_version(tmp_path: Path) -> None:
    timings = TimingCacheFile(tmp_path, FACTS)
    assert timings.load() == b""
    timings.store(b"measured")
    assert timings.load() == b"measured"
    other = DeviceFacts("NVIDIA Other", "8.6", 82, 1 << 30, 120400, "10.16")
    assert TimingCacheFile(tmp_path, other).load() == b""


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_timing_cache_never_reaches_tensorrt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    timings = TimingCacheFile(tmp_path, FACTS)
    timings.store(b"measured" * 100)
    content = bytearray(timings.path.read_bytes())
    if damage == "cut":
        del content[200:]
    elif damage == "flip":
        content[100] ^= 1
    else:
        content.clear()
    timings.path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert timings.load() == b""
    assert "is damaged and is not used" in caplog.text


def test_timings_that_cannot_be_written_cost_nothing_else(tmp_path: Path) -> None:
    timings = TimingCacheFile(tmp_path / "missing", FACTS)
    timings.store(b"measured")
    assert timings.load() == b""

"""Facts about the parts of the device path: contexts, errors, pinned rings, timing caches."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycuda_double import FakeCuda
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

    def use() -> None:
        device = Device(cuda)
        with device.current():
            assert cuda.current == 0

    for _ in range(20):
        use()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(use).result()
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
    words = "failed while copying: cuMemcpyDtoHAsync failed: invalid argument"
    with pytest.raises(SessionError, match=words) as found, device.errors("copying"):
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

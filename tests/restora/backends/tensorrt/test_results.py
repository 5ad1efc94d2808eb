"""Facts about results in pinned memory: handed out, given back, bounded."""

from __future__ import annotations

import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpu_rig import Rig, blur_and_enlarge, on_the_cpu, picture
from pycuda_double import FakeCuda
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.graphs import capture
from restora.backends.tensorrt.results import ResultPool, default_limit
from restora.tiling import Tiling

BLOCK = 64 << 10
TILING = Tiling(size=32, overlap=8, fixed=True)


def make_pool(limit_bytes: int) -> tuple[FakeCuda, Device, ResultPool]:
    cuda = FakeCuda()
    device = Device(cuda)
    return cuda, device, ResultPool(device, limit_bytes=limit_bytes)


def test_the_gpu_writes_to_the_array_that_is_returned() -> None:
    rig = Rig()
    session = rig.open()
    image, batch = picture(64, 64), picture(32, 32)[None]
    assert rig.cuda.is_pinned(session.run_tiles(image, tiling=TILING))
    assert rig.cuda.is_pinned(session.run(batch))
    stats = session.stats()
    assert (stats.results_pinned, stats.results_copied) == (2, 0)
    session.close()


def test_a_result_stays_right_while_others_are_computed_and_after_the_session() -> None:
    rig = Rig()
    session = rig.open()
    images = [picture(64, 64, seed=seed) for seed in range(6)]
    results = [session.run_tiles(image, tiling=TILING) for image in images]
    view = results[0][8:16, 8:16]
    kept = view.copy()
    del results[0]
    others = [session.run_tiles(image, tiling=TILING) for image in images]
    assert np.array_equal(view, kept)
    session.close()
    for image, result in zip(images[1:] + images, results + others, strict=True):
        assert np.array_equal(result, on_the_cpu(image, TILING))
    assert rig.cuda.live > 0
    del results, others, result, view
    assert rig.cuda.live == 0


def test_blocks_are_used_again_as_soon_as_nothing_refers_to_them() -> None:
    cuda, device, pool = make_pool(1 << 20)
    with device.current():
        first = pool.take(1000)
        assert first is not None
        address = first.ctypes.data
        view = first[10:20].view(np.uint8)
        del first
        second = pool.take(1000)
        assert second is not None
        assert second.ctypes.data != address
        del view
        third = pool.take(1000)
        assert third is not None
        assert third.ctypes.data == address
        assert cuda.pinned == 2
        del second, third
        pool.free()
    assert cuda.live == 0


def test_a_block_much_larger_than_a_result_is_not_used_for_it() -> None:
    cuda, device, pool = make_pool(1 << 30)
    with device.current():
        pool.take(10 * BLOCK)
        pool.take(BLOCK)
        assert cuda.pinned == 2
        pool.free()
    assert cuda.live == 0


def test_idle_blocks_make_room_and_blocks_in_use_do_not() -> None:
    cuda, device, pool = make_pool(4 * BLOCK)
    with device.current():
        used = pool.take(BLOCK)
        pool.take(2 * BLOCK)  # idle at once
        assert pool.allocated_bytes == cuda.pinned_bytes == 3 * BLOCK
        large = pool.take(3 * BLOCK)
        assert large is not None
        assert pool.allocated_bytes == cuda.pinned_bytes == 4 * BLOCK
        assert pool.take(1) is None
        del used, large
        pool.free()
    assert pool.allocated_bytes == cuda.pinned_bytes == 0


def test_results_beyond_the_limit_are_copied_once_more() -> None:
    rig = Rig()
    session = rig.open(pinned_bytes=BLOCK)
    images = [picture(64, 64, seed=seed) for seed in range(3)]
    results = [session.run_tiles(image, tiling=TILING) for image in images]
    assert [rig.cuda.is_pinned(result) for result in results] == [True, False, False]
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result, on_the_cpu(image, TILING))
    stats = session.stats()
    assert (stats.results_pinned, stats.results_copied) == (1, 2)
    session.close()


def test_host_memory_that_cannot_be_pinned_costs_a_copy_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    session = rig.open()

    def refuse(_size: int, _dtype: type) -> np.ndarray:
        raise rig.cuda.MemoryError("cuMemHostAlloc failed: out of memory")

    rig.cuda.pagelocked_empty = refuse  # type: ignore[method-assign]
    batch = picture(32, 32)[None]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert np.array_equal(session.run(batch), blur_and_enlarge(batch))
    assert len(caplog.records) == 1
    assert "results are copied twice: the system has no host memory" in caplog.text
    session.close()


def test_a_result_that_another_thread_releases_after_the_session_is_freed() -> None:
    rig = Rig()
    session = rig.open()
    results = [session.run(picture(32, 32)[None])]
    session.close()
    assert rig.cuda.pinned == 1
    with ThreadPoolExecutor(1) as pool:
        pool.submit(results.clear).result()
    assert rig.cuda.pinned == 0
    assert rig.cuda.pushed == 0


def test_nothing_is_freed_while_the_thread_captures_a_graph() -> None:
    """An array may be released anywhere, by a garbage collection too."""
    rig = Rig()
    session = rig.open()
    results = [session.run(picture(32, 32, seed=seed)[None]) for seed in range(2)]
    session.close()
    device = Device(rig.cuda)
    with device.current():
        stream = device.make_stream()
        capture(rig.driver, stream, lambda _stream: results.pop()).free()
        assert rig.cuda.pinned == 2
        del results[:]
        assert rig.cuda.pinned == 0
        del stream


def test_a_garbage_collection_inside_the_pool_does_not_block_it() -> None:
    cuda, device, pool = make_pool(1 << 20)
    with device.current():
        cycle: list[object] = [pool.take(BLOCK)]
        cycle.append(cycle)
        del cycle
        allocate = cuda.pagelocked_empty

        def collect(size: int, dtype: type) -> np.ndarray:
            gc.collect()
            return allocate(size, dtype)

        cuda.pagelocked_empty = collect  # type: ignore[method-assign]
        gc.disable()
        try:
            assert pool.take(BLOCK) is not None
        finally:
            gc.enable()
        pool.free()
    assert cuda.live == 0


def test_a_hundred_results_that_are_released_take_two_blocks() -> None:
    rig = Rig()
    session = rig.open()
    for seed in range(100):
        session.run_tiles(picture(64, 64, seed=seed), tiling=TILING)
    rings = 2 * 2 * 4
    assert rig.cuda.pinned <= rings + 2
    session.close()
    assert rig.cuda.live == 0


def test_the_default_limit_is_a_share_of_the_memory() -> None:
    assert 0 < default_limit() <= 2 << 30

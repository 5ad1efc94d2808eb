"""Facts that only a real GPU shows; the benchmarks' check of a machine covers full-size networks.

Run with `pytest -m gpu`; they are left out where there is no NVIDIA driver.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact, with_selfcheck
from restora.artifact import Artifact, Io, SelfCheck
from restora.backends import PlanOptions, SessionOptions, open_session
from restora.backends.tensorrt.bindings import import_nvrtc
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.open import open_tensorrt
from restora.backends.tensorrt.session import TensorRTSession
from restora.backends.tensorrt.tile_kernels import TileKernels
from restora.tiling import Tiling, run_tiles

pytestmark = pytest.mark.gpu

OPTIONS = SessionOptions(
    backend="tensorrt", precision="fp32", plans=PlanOptions(tile=64, batches=(2,), max_tile=128)
)
LEAK_BYTES = 64 << 20


def checked() -> Artifact:
    artifact = tiny_artifact()
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    session = open_session(artifact, options=SessionOptions(backend="cpu"))
    return with_selfcheck(artifact, SelfCheck(image, session.run(image)))


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, because TensorRT 8.6 needs up to a minute for each plan, however small."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture
def session(plans: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TensorRTSession]:
    monkeypatch.setenv("RESTORA_PLANS", str(plans))
    opened, _ = open_tensorrt([checked()], OPTIONS)
    yield opened
    opened.close()


def test_a_photo_is_restored_as_on_the_cpu(session: TensorRTSession) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (200, 170, 3), np.uint8)
    tiling = Tiling(size=64, overlap=16, fixed=True)
    cpu = open_session(tiny_artifact(), options=SessionOptions(backend="cpu"))
    expected = run_tiles(photo, cpu.run, scale=2, tiling=tiling, multiple=2)
    for _ in range(4):  # plainly, while a graph is captured, and from the graph
        got = session.run_tiles(photo, tiling=tiling)
        assert np.abs(got.astype(int) - expected).max() <= 1


def test_threads_share_a_session(session: TensorRTSession) -> None:
    photos = [np.full((100 + 2 * n, 90, 3), 10 * n, np.uint8) for n in range(12)]
    tiling = Tiling(size=64, overlap=16, fixed=True)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda photo: session.run_tiles(photo, tiling=tiling), photos))
    for number, result in enumerate(results):
        assert result.shape == (200 + 4 * number, 180, 3)


def test_closing_gives_the_memory_back(plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(plans))
    cuda = import_pycuda()
    device = Device(cuda)
    free = []
    for _ in range(5):
        opened, _ = open_tensorrt([checked()], OPTIONS)
        opened.run(np.zeros((2, 64, 64, 3), np.uint8))
        opened.close()
        with device.current():
            free.append(cuda.mem_get_info()[0])
    assert free[0] - free[-1] < LEAK_BYTES


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_the_kernels_compile_for_this_gpu_and_load(io: Io) -> None:
    device = Device(import_pycuda())
    with device.current():
        TileKernels(device, import_nvrtc(), io)


def test_graphs_are_captured_and_tiles_are_blended_on_the_gpu(session: TensorRTSession) -> None:
    photo = np.random.default_rng(2).integers(0, 256, (200, 170, 3), np.uint8)
    for _ in range(3):
        session.run_tiles(photo, tiling=Tiling(size=64, overlap=16, fixed=True))
    stats = session.stats()
    assert stats.graphs_captured > 0, stats.graphs_error
    assert stats.graphs_launched > 0, stats.graphs_error
    assert (stats.blended_on_gpu, stats.blended_on_cpu) == (3, 0), stats.blend_error


@pytest.mark.parametrize(("source_width", "target_width"), [(171, 67), (67, 171), (1023, 1021)])
def test_copies_on_the_device_take_odd_pitches(source_width: int, target_width: int) -> None:
    """Tiles are cut by such copies where the kernels are missing."""
    cuda = import_pycuda()
    device = Device(cuda)
    rows, wide = 33, 3 * min(source_width, target_width) - 6
    source = np.random.default_rng(3).integers(0, 256, (rows, 3 * source_width), np.uint8)
    target = np.zeros((rows, 3 * target_width), np.uint8)
    with device.current():
        stream = device.make_stream()
        here, there = cuda.mem_alloc(source.nbytes), cuda.mem_alloc(target.nbytes)
        cuda.memcpy_htod_async(int(here), source, stream)
        cuda.memcpy_htod_async(int(there), target, stream)
        copy = cuda.Memcpy2D()
        copy.set_src_device(int(here) + 3)
        copy.set_dst_device(int(there))
        copy.src_pitch, copy.dst_pitch = source.shape[1], target.shape[1]
        copy.width_in_bytes, copy.height = wide, rows
        copy(stream)
        got = np.empty_like(target)
        cuda.memcpy_dtoh_async(got, int(there), stream)
        stream.synchronize()
        here.free()
        there.free()
        del stream
    target[:, :wide] = source[:, 3 : 3 + wide]
    assert np.array_equal(got, target)


def test_a_session_runs_in_a_thread_while_another_one_captures(session: TensorRTSession) -> None:
    batch = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = session.run(batch).copy()
    stop, results = threading.Event(), []

    def keep_running() -> None:
        while not stop.is_set():
            results.append(np.array_equal(session.run(batch), expected))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(keep_running)
        try:
            for _ in range(5):
                other, _ = open_tensorrt([checked()], OPTIONS)
                assert all(np.array_equal(other.run(batch), expected) for _ in range(4))
                assert other.stats().graphs_captured > 0, other.stats().graphs_error
                other.close()
        finally:
            stop.set()
        running.result()
    assert results
    assert all(results)


def test_a_plan_is_built_after_the_gpu_was_opened_twenty_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that come and go leave their contexts in order."""
    cuda = import_pycuda()

    def open_gpu(_: int) -> int:
        device = Device(cuda)
        with device.current():
            return int(cuda.mem_get_info()[0])

    for number in range(20):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(open_gpu, number).result() > 0
        open_gpu(number)
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    opened, precision = open_tensorrt([checked()], OPTIONS)
    assert precision == "fp32"
    opened.close()

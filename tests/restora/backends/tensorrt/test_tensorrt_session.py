"""Facts about restoring on a GPU, on doubles that compute real pictures, as late as they may."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuda_bindings_double import FakeNvrtc
from gpu_rig import Rig, blur_and_enlarge, on_the_cpu, picture
from pycuda_double import Event, FakeCuda
from restora.backends.base import TilingSession
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    NonFiniteOutputError,
    SessionError,
    ShapeError,
)
from restora.image import Photo
from restora.tiling import Tiling
from restora.upsample import Upsampler
from tensorrt_double import VERSIONS

Batch = Any


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    tile=st.sampled_from([16, 32]),
    overlap=st.sampled_from([0, 4, 8]),
    blend=st.sampled_from(["linear", "cosine", "crop"]),
    fixed=st.booleans(),
    io=st.sampled_from(["uint8", "float32"]),
    version=st.sampled_from(VERSIONS),
)
def test_tiles_joined_on_the_device_are_those_of_the_cpu_bit_by_bit(
    height: int,
    width: int,
    tile: int,
    overlap: int,
    blend: Any,
    fixed: bool,
    io: str,
    version: str,
) -> None:
    image = picture(height * 2, width * 2, io)
    tiling = Tiling(size=tile, overlap=overlap, blend=blend, fixed=fixed)
    rig = Rig(version, io=io, tile=16)
    session = rig.open()
    assert isinstance(session, TilingSession)
    for _ in range(3):  # plainly, while a graph is captured, and from the graph
        assert np.array_equal(session.run_tiles(image, tiling=tiling), on_the_cpu(image, tiling))
    session.close()
    assert rig.cuda.live == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_batches_come_back_in_order_however_they_are_split(version: str) -> None:
    rig = Rig(version)
    session = rig.open()
    batch = np.stack([picture(32, 32, seed=seed) for seed in range(7)])
    for _ in range(4):
        assert np.array_equal(session.run(batch), blur_and_enlarge(batch))
    shapes = [build.shapes for build in rig.trt.world.plans.values()]
    assert len(shapes) == 3
    session.close()


def test_a_photo_crosses_the_bus_once() -> None:
    rig = Rig()
    session = rig.open()
    rig.cuda.calls.clear()
    session.run_tiles(picture(128, 128), tiling=Tiling(size=32, overlap=8, fixed=True))
    # the photo and the weights of its seams; each row of tiles and the means
    assert rig.cuda.calls.count("memcpy_htod_async") == 2
    assert rig.cuda.calls.count("memcpy_dtoh_async") == 5 + 1
    session.close()


def test_a_batch_takes_three_operations_on_the_device() -> None:
    """Gather, network, blend: without kernels of their own, 16 tiles in 4 batches took 59."""
    rig = Rig(tile=32, batches=(1, 4))
    session = rig.open()
    image, tiling = picture(104, 104), Tiling(size=32, overlap=8, fixed=True)
    for _ in range(3):
        session.run_tiles(image, tiling=tiling)
    rig.cuda.calls.clear()
    session.run_tiles(image, tiling=tiling)
    copies = {"memcpy_htod_async", "memcpy_dtoh_async"}
    waits = {"Event.record", "Event.synchronize", "Stream.wait_for_event"}
    operations = Counter(call for call in rig.cuda.calls if call not in copies | waits)
    assert operations == {"gather_tiles": 4, "cuGraphLaunch": 4, "blend_tiles": 4}
    assert session.stats().blended_on_gpu == 4
    session.close()


def test_a_second_photo_does_not_delay_the_download_of_the_first() -> None:
    """Its wait for its own tiles must not stand before the other copies of the first photo."""
    rig = Rig(graphs=False)
    session = rig.open()
    tiling = Tiling(size=32, overlap=8, fixed=True)
    computed: list[int] = []

    def network(batch: Batch) -> Batch:
        computed.append(int(batch.max()))
        return blur_and_enlarge(batch)

    rig.trt.world.network = network
    first, second = np.full((128, 128, 3), 1, np.uint8), np.full((128, 128, 3), 2, np.uint8)
    waiting, finished = threading.Event(), threading.Event()
    copy = rig.cuda.memcpy_dtoh_async

    def copy_later(target: Batch, address: int, stream: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            waiting.set()  # the wait for the tiles of the second photo is queued
            finished.wait()
        copy(target, address, stream)

    rig.cuda.memcpy_dtoh_async = copy_later  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        others: list[Any] = []

        def start_the_second(_done: int, _all: int) -> None:
            if not others:
                others.append(pool.submit(session.run_tiles, second, tiling=tiling))
                waiting.wait()

        result = session.run_tiles(first, tiling=tiling, progress=start_the_second)
        assert set(computed) - {0} == {1}
        finished.set()
        assert np.array_equal(others[0].result(), on_the_cpu(second, tiling))
    assert np.array_equal(result, on_the_cpu(first, tiling))
    session.close()


@pytest.mark.parametrize("pinned_bytes", [0, 1 << 24])
def test_progress_counts_pixels_that_have_arrived(pinned_bytes: int) -> None:
    rig = Rig(graphs=False)
    session = rig.open(pinned_bytes=pinned_bytes)
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))
        assert rig.cuda.downloaded_bytes >= done * 3

    tiling = Tiling(size=32, overlap=8, fixed=True)
    session.run_tiles(picture(128, 96), tiling=tiling, progress=note)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (256 * 192, 256 * 192)
    session.close()


def test_no_stream_waits_for_the_default_stream() -> None:
    rig = Rig()
    session = rig.open()
    streams = list(rig.cuda.streams.values())
    assert len(streams) == 1 + 2 * 2  # computation, and two for the copies of each photo in flight
    assert not any(stream.blocking for stream in streams)
    del streams
    session.close()


@pytest.mark.parametrize(
    ("waits", "integrated", "flag"),
    [("spin", True, 0), ("block", False, 1), ("auto", True, 1), ("auto", False, 0)],
)
def test_threads_sleep_while_they_wait_if_asked_or_on_a_jetson(
    waits: Any, integrated: bool, flag: int
) -> None:
    rig = Rig()
    rig.cuda.integrated = integrated
    waited: list[int] = []
    wait = Event.synchronize

    def note(event: Event) -> None:
        waited.append(event.flags & rig.cuda.event_flags.BLOCKING_SYNC)
        wait(event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Event, "synchronize", note)
        session = rig.open(waits=waits)
        for pinned in (True, False):
            image = picture(64, 64, seed=pinned)
            tiling = Tiling(size=32, overlap=8)
            session.run_tiles(image, tiling=tiling, progress=lambda *_: None)
            session.run(picture(32, 32)[None])
        session.close()
    assert set(waited) == {flag}


def test_what_was_done_can_be_read() -> None:
    rig = Rig(nvrtc=FakeNvrtc(library=False))
    session = rig.open()
    tiling = Tiling(size=32, overlap=8, fixed=True)
    session.run_tiles(picture(64, 64), tiling=tiling)
    stats = session.stats()
    assert (stats.blended_on_gpu, stats.blended_on_cpu) == (0, 1)
    assert stats.computed_pixels == 9 * 32 * 32
    assert "Failed to dlopen libnvrtc" in str(stats.blend_error)
    session.close()


def test_without_kernels_tiles_that_are_cut_off_are_pasted_by_copies() -> None:
    rig = Rig(nvrtc=FakeNvrtc(library=False))
    session = rig.open()
    image = picture(70, 50)
    for fixed in (True, False):
        tiling = Tiling(size=32, overlap=8, blend="crop", fixed=fixed)
        rig.cuda.calls.clear()
        assert np.array_equal(session.run_tiles(image, tiling=tiling), on_the_cpu(image, tiling))
        assert "Memcpy2D" in rig.cuda.calls
    session.close()


def test_a_shape_that_comes_again_is_captured_and_then_launched() -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    batch = picture(32, 32)[None]
    for _ in range(5):
        session.run(batch)
    assert rig.driver.captured == 1
    assert rig.driver.launched == 3
    session.close()
    assert rig.cuda.live == 0


def test_a_graph_does_not_outlive_the_memory_that_it_was_captured_with() -> None:
    """A larger batch moves the buffers; a graph would go on writing where they were."""
    rig = Rig(batches=(1,))
    session = rig.open()
    small, large = picture(16, 16)[None], picture(64, 64, seed=1)[None]
    for _ in range(3):
        session.run(small)
    assert rig.driver.launched == 1
    assert np.array_equal(session.run(large), blur_and_enlarge(large))
    assert rig.cuda.graphs == 0
    other = picture(16, 16, seed=2)[None]
    assert np.array_equal(session.run(other), blur_and_enlarge(other))
    assert np.array_equal(session.run(small), blur_and_enlarge(small))
    session.close()


def test_no_graph_outlives_the_memory_that_a_full_gpu_gave_back() -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    small, large = picture(16, 16)[None], picture(64, 64, seed=1)[None]
    for _ in range(3):
        session.run(small)
    assert rig.cuda.graphs == 1
    used = sum(memory.nbytes for memory in rig.cuda.memory.values())
    rig.cuda.memory_bytes = used + 1
    with pytest.raises(DeviceMemoryError):
        session.run(large)
    assert rig.cuda.graphs == 0
    rig.cuda.memory_bytes = 1 << 30
    assert np.array_equal(session.run(small), blur_and_enlarge(small))
    session.close()


def test_only_the_last_few_graphs_are_kept() -> None:
    rig = Rig()
    session = rig.open()
    for side in range(8, 64, 2):
        for _ in range(2):
            session.run(picture(side, 8)[None])
    assert rig.driver.captured > 8
    # memory that grew has ended some of them too
    assert rig.cuda.graphs <= 8
    session.close()
    assert rig.cuda.graphs == 0


def test_without_graphs_the_picture_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.driver.capture_fails = True
    session = rig.open()
    image = picture(64, 64)
    tiling = Tiling(size=32, overlap=8)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert np.array_equal(
                session.run_tiles(image, tiling=tiling), on_the_cpu(image, tiling)
            )
    assert [r.getMessage() for r in caplog.records] == [
        "tiny runs without CUDA graphs: cuStreamEndCapture failed: 901"
    ]
    session.close()
    assert rig.cuda.live == 0


@pytest.mark.parametrize(
    ("nvrtc", "words"),
    [
        (FakeNvrtc("error: identifier is undefined"), "identifier is undefined"),
        (FakeNvrtc(library=False), "Failed to dlopen libnvrtc"),
    ],
)
def test_without_the_compiler_tiles_are_joined_on_the_cpu_and_it_is_said(
    caplog: pytest.LogCaptureFixture, nvrtc: FakeNvrtc, words: str
) -> None:
    rig = Rig(nvrtc=nvrtc)
    with caplog.at_level(logging.WARNING):
        session = rig.open()
    assert "tiles are blended on the CPU" in caplog.text
    assert words in caplog.text
    image, tiling = picture(64, 80), Tiling(size=32, overlap=8)
    assert np.array_equal(session.run_tiles(image, tiling=tiling), on_the_cpu(image, tiling))
    session.close()


def test_without_cuda_bindings_it_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()

    def missing() -> Any:
        raise MissingBackendError("CUDA graphs need cuda-bindings")

    device = Device(rig.cuda)
    with device.current():
        plans = [rig.load(device, profile) for profile in rig.profiles]
    with caplog.at_level(logging.WARNING):
        session = TensorRTSession(device, plans, driver=missing, nvrtc=missing)
    assert caplog.text.count("need cuda-bindings") == 2
    batch = picture(32, 32)[None]
    assert np.array_equal(session.run(batch), blur_and_enlarge(batch))
    session.close()


def test_the_compiler_is_told_the_gpu() -> None:
    rig = Rig()
    rig.open().close()
    assert rig.nvrtc.options == [b"--gpu-architecture=sm_90"]


def test_a_tile_larger_than_the_plans_says_what_to_do() -> None:
    session = Rig().open()
    with pytest.raises(ShapeError, match=r"is 64: use a smaller --tile, or `restora build"):
        session.run_tiles(picture(100, 100), tiling=Tiling(size=0))
    with pytest.raises(ShapeError, match="tiles of at most 64 x 64, got 100 x 32"):
        session.run(picture(100, 32)[None])
    with pytest.raises(ShapeError, match="sides of at least 8"):
        session.run(picture(4, 32)[None])
    session.close()


def test_a_photo_smaller_than_any_plan_is_mirrored() -> None:
    session = Rig().open()
    photo = Photo(picture(2, 3))
    result = Upsampler(session, tiling=Tiling(size=32, overlap=8)).upsample(photo)
    mirrored = np.pad(photo.pixels, ((0, 6), (0, 5), (0, 0)), mode="reflect")
    assert np.array_equal(result.pixels, blur_and_enlarge(mirrored[None])[0, :4, :6])
    session.close()


def test_full_memory_halves_the_tiles_and_remembers(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tile=64, batches=(1,), max_tile=128, memory_bytes=400_000)
    rig.trt.world.scratch_bytes = 4096
    session = rig.open()
    upsampler = Upsampler(session, tiling=Tiling(size=128, overlap=8))
    photo = Photo(picture(128, 128))
    with caplog.at_level(logging.WARNING):
        result = upsampler.upsample(photo)
    assert upsampler.tiling.size == 64
    assert "memory is full" in caplog.text
    assert "continuing with tiles of 64" in caplog.text
    expected = on_the_cpu(photo.pixels, Tiling(size=64, overlap=8))
    assert np.array_equal(result.pixels, expected)
    caplog.clear()
    upsampler.upsample(photo)
    assert not caplog.records
    session.close()
    del result
    assert rig.cuda.live == 0


def test_memory_that_never_suffices_is_an_error_and_leaves_nothing() -> None:
    rig = Rig(tile=32, batches=(1,), memory_bytes=60_000)
    session = rig.open()
    upsampler = Upsampler(session, tiling=Tiling(size=64, overlap=8))
    with pytest.raises(DeviceMemoryError, match="use smaller tiles"):
        upsampler.upsample(Photo(picture(128, 128)))
    session.close()
    assert len(rig.cuda.memory) + rig.cuda.pinned + rig.cuda.graphs == 0


def test_a_lost_gpu_ends_all_work_of_the_session() -> None:
    rig = Rig()
    session = rig.open()
    rig.cuda.fail_at = len(rig.cuda.calls) + 20
    image = picture(96, 96)
    with pytest.raises(DeviceLostError, match="this process cannot use it any more"):
        session.run_tiles(image, tiling=Tiling(size=32, overlap=8))
    rig.cuda.calls.clear()
    with pytest.raises(DeviceLostError, match="this process cannot use it any more"):
        session.run_tiles(image, tiling=Tiling(size=32, overlap=8))
    assert rig.cuda.calls == []
    session.close()


def test_full_memory_frees_what_the_other_slot_kept() -> None:
    rig = Rig(batches=(1,), graphs=False)
    session = rig.open()
    tiling = Tiling(size=32, overlap=8, fixed=True)
    images = [picture(256, 256, seed=seed) for seed in range(2)]
    both, met = threading.Barrier(2), threading.Event()

    def meet(_done: int, _all: int) -> None:
        if not met.is_set():
            both.wait()
            met.set()

    with ThreadPoolExecutor(2) as pool:  # so that each slot holds the memory of a photo
        list(pool.map(lambda i: session.run_tiles(i, tiling=tiling, progress=meet), images))
    used = sum(memory.nbytes for memory in rig.cuda.memory.values())
    rig.cuda.memory_bytes = used + 1
    with pytest.raises(DeviceMemoryError):
        session.run_tiles(picture(320, 320), tiling=tiling)
    assert sum(memory.nbytes for memory in rig.cuda.memory.values()) == 0
    session.close()


def test_nan_on_the_gpu_is_an_error() -> None:
    rig = Rig(io="float32")
    rig.trt.world.network = lambda batch: blur_and_enlarge(batch) * np.float32("nan")
    session = rig.open()
    with pytest.raises(NonFiniteOutputError, match="NaN or Inf"):
        session.run_tiles(picture(64, 64, "float32"), tiling=Tiling(size=32, overlap=8))
    with pytest.raises(NonFiniteOutputError):
        session.run(picture(32, 32, "float32")[None])
    session.close()


def test_a_failed_run_leaves_the_session_usable() -> None:
    rig = Rig(graphs=False)
    session = rig.open()
    image, tiling = picture(64, 64), Tiling(size=32, overlap=8)
    rig.trt.world.execute_fails = True
    with pytest.raises(SessionError, match="failed on the GPU"):
        session.run_tiles(image, tiling=tiling)
    rig.trt.world.execute_fails = False
    assert np.array_equal(session.run_tiles(image, tiling=tiling), on_the_cpu(image, tiling))
    session.close()
    assert rig.cuda.live == 0
    with pytest.raises(SessionError, match="is closed"):
        session.run_tiles(image, tiling=tiling)
    session.close()


def test_many_threads_get_their_own_pictures() -> None:
    rig = Rig()
    session = rig.open()
    tiling = Tiling(size=32, overlap=8, fixed=True)
    images = [picture(34 + 6 * n, 90 - 4 * n, seed=n) for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda image: session.run_tiles(image, tiling=tiling), images))
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result, on_the_cpu(image, tiling))
    session.close()
    del results, result
    assert rig.cuda.live == 0
    assert rig.cuda.retained == 1
    assert len(rig.trt.world.contexts) == 0
    assert rig.cuda.pushed == 0


def test_a_hundred_photos_hold_no_more_than_two() -> None:
    rig = Rig()
    session = rig.open()
    tiling = Tiling(size=32, overlap=8, fixed=True)
    held = set()
    for number in range(100):
        session.run_tiles(picture(64, 64, seed=number), tiling=tiling)
        held.add(rig.cuda.live)
    assert len(held) <= 4
    session.close()
    assert rig.cuda.live == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["memory", "lost", "refused"])
def test_whichever_call_fails_the_picture_is_right_or_there_is_an_error(
    version: str, kind: str
) -> None:
    """One run for each call that opening and restoring make, with that call failing."""
    image, tiling = picture(48, 40), Tiling(size=32, overlap=8, fixed=True)
    expected = on_the_cpu(image, tiling)
    whole = Rig(version)
    session = whole.open()
    for _ in range(3):
        session.run_tiles(image, tiling=tiling)
    calls = list(whole.cuda.calls)
    session.close()
    assert len(calls) > 100
    for number, name in enumerate(calls):
        if kind == "memory" and name not in ("mem_alloc", "pagelocked_empty"):
            continue
        cuda = FakeCuda()
        cuda.fail_at = number
        if kind == "memory":
            cuda.fail_with = cuda.MemoryError("out of memory")
        if kind == "refused":
            cuda.fail_with = cuda.LogicError("invalid argument")
        rig = Rig(version, cuda=cuda)
        opened = failure = None
        try:
            opened = rig.open()
            for _ in range(3):
                assert np.array_equal(opened.run_tiles(image, tiling=tiling), expected), name
        except SessionError as error:
            failure = type(error)
        assert failure is None or (failure is DeviceLostError) == (kind == "lost"), name
        if opened is not None:
            if kind != "lost":
                assert np.array_equal(opened.run_tiles(image, tiling=tiling), expected), name
            opened.close()
            if kind != "lost":
                assert cuda.live == 0, name

"""Facts about CUDA graphs of a session, on doubles that refuse what CUDA and TensorRT refuse."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cuda_bindings_double import FakeDriver
from gpu_rig import Rig, blur_and_enlarge, picture
from pycuda_double import FakeCuda
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.graphs import capture, is_capturing
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import DeviceLostError, DeviceMemoryError, SessionError
from tensorrt_double import VERSIONS

Batch = Any


def run_checked(session: TensorRTSession, batch: Batch) -> None:
    assert np.array_equal(session.run(batch), blur_and_enlarge(batch))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_graph_is_captured_of_a_context_that_ran_and_then_launched(version: str) -> None:
    rig = Rig(version, batches=(1,))
    session = rig.open()
    batch = picture(32, 32)[None]
    for _ in range(5):
        run_checked(session, batch)
    stats = session.stats()
    assert (stats.plain_runs, stats.graphs_captured, stats.graphs_launched) == (2, 1, 3)
    assert stats.computed_pixels == 5 * 32 * 32
    assert stats.graphs_error is None
    session.close()
    assert session.stats() == stats


def test_the_double_refuses_to_capture_a_context_that_never_ran() -> None:
    """As TensorRT, whose first run after a change of shape allocates memory."""
    rig = Rig(batches=(1,))
    device = Device(rig.cuda)
    with device.current():
        plan = rig.load(device, rig.profiles[0])
        stream = device.make_stream()
        context = plan.make_context(stream)
        context.set_shape(rig.profiles[0].best)
        with pytest.raises(SessionError, match="not permitted when stream is capturing"):
            capture(rig.driver, stream, context.enqueue)
        assert stream.recording is None


def test_another_thread_loads_a_plan_while_a_graph_is_captured() -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    loaded = []

    def load() -> None:
        device = Device(rig.cuda)
        with device.current():
            loaded.append(rig.load(device, rig.profiles[0]))

    def load_in_another_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(load).result()

    rig.driver.while_capturing = load_in_another_thread
    batch = picture(32, 32)[None]
    for _ in range(3):
        run_checked(session, batch)
    assert len(loaded) == 1
    assert session.stats().graphs_launched == 1
    session.close()


def test_the_double_refuses_that_for_a_blocking_stream() -> None:
    cuda = FakeCuda()
    driver = FakeDriver(cuda)
    device = Device(cuda)
    with device.current():
        stream = cuda.Stream()
        driver.cuStreamBeginCapture(stream, 1)
        with pytest.raises(cuda.LogicError, match="depend on a capturing blocking stream"):
            cuda.use_legacy_stream("cudaMemcpy")
        assert driver.cuStreamEndCapture(stream)[0] == 901


def test_after_a_failed_capture_its_context_is_dropped_and_batches_run_plainly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(batches=(1,))
    rig.driver.capture_fails = True
    session = rig.open()
    batch = picture(32, 32)[None]
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            run_checked(session, batch)
    assert len(caplog.records) == 1
    assert len(rig.trt.world.contexts) == 1
    stats = session.stats()
    # the second batch ran on the context that was to be captured, and again to test the plan
    assert (stats.graphs_captured, stats.graphs_launched, stats.plain_runs) == (0, 0, 4)
    assert stats.graphs_error == "cuStreamEndCapture failed: 901"
    session.close()


def test_a_plan_that_a_failed_capture_broke_is_an_error() -> None:
    rig = Rig(batches=(1,))
    rig.driver.capture_fails = True

    def break_the_plan() -> None:
        rig.trt.world.execute_error = "Error Code 1: Cuda Runtime (invalid resource handle)"

    rig.driver.while_capturing = break_the_plan
    session = rig.open()
    batch = picture(32, 32)[None]
    run_checked(session, batch)
    with pytest.raises(SessionError, match="invalid resource handle"):
        session.run(batch)
    session.close()


def test_a_context_for_a_graph_that_does_not_fit_costs_the_graphs_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    batch, other = picture(32, 32)[None], picture(16, 32)[None]
    for _ in range(2):
        run_checked(session, batch)
    assert rig.cuda.graphs == 1
    run_checked(session, other)
    rig.trt.world.context_error = "Error Code 2: OutOfMemory (Requested size was 4096 bytes.)"
    with caplog.at_level(logging.WARNING):
        run_checked(session, other)
        run_checked(session, batch)
    assert "runs without CUDA graphs: the GPU's memory is full" in caplog.text
    # the other graphs gave their memory back
    assert rig.cuda.graphs == 0
    assert session.stats().plain_runs == 5
    session.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(719, DeviceLostError), (700, DeviceLostError), (2, DeviceMemoryError), (1, SessionError)],
)
def test_a_graph_that_cannot_be_launched_is_the_error_of_its_code(
    code: int, kind: type[Exception]
) -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    batch = picture(32, 32)[None]
    for _ in range(2):
        run_checked(session, batch)
    rig.driver.launch_error = code
    with pytest.raises(SessionError) as found:
        session.run(batch)
    assert type(found.value) is kind
    rig.driver.launch_error = 0
    if kind is not DeviceLostError:
        run_checked(session, batch)
    session.close()


def test_the_graphs_of_the_last_eight_shapes_are_kept() -> None:
    rig = Rig(batches=(1,))
    session = rig.open()
    run_checked(session, picture(64, 64)[None])  # no later batch needs more memory
    shapes = [(side, 8) for side in range(8, 32, 2)]
    for shape in shapes:
        for _ in range(2):
            run_checked(session, picture(*shape)[None])
    assert session.stats().graphs_captured == 12
    assert rig.cuda.graphs == 8
    # one for each of the graphs, and the one that batches without a graph share
    assert len(rig.trt.world.contexts) == 9
    launched = session.stats().graphs_launched
    run_checked(session, picture(*shapes[-8])[None])
    assert session.stats().graphs_launched == launched + 1
    session.close()


def test_an_interrupt_ends_the_capture() -> None:
    rig = Rig()
    device = Device(rig.cuda)

    def interrupt(_stream: Any) -> None:
        assert is_capturing()
        raise KeyboardInterrupt

    with device.current():
        stream = device.make_stream()
        with pytest.raises(KeyboardInterrupt):
            capture(rig.driver, stream, interrupt)
        assert not is_capturing()
        stream.synchronize()
    assert rig.cuda.graphs == 0


def test_without_graphs_every_batch_runs_plainly_and_the_reason_is_stated() -> None:
    rig = Rig(graphs=False)
    session = rig.open()
    for _ in range(3):
        run_checked(session, picture(32, 32)[None])
    assert session.stats().plain_runs == 3
    assert session.stats().graphs_error == "CUDA graphs: not asked for"
    session.close()

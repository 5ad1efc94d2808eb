"""CUDA graphs: one launch instead of hundreds per network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from restora.backends.tensorrt.bindings import CudaCallError, call
from restora.errors import RestoraError

logger = logging.getLogger(__name__)


class Graph:
    """A captured sequence of work that can be launched."""

    def __init__(self, driver: Any, executable: Any) -> None:
        self._driver, self._executable = driver, executable

    def launch(self, stream: Any) -> None:
        """Launch the graph on a stream. Raises CudaCallError."""
        call(self._driver.cuGraphLaunch, self._executable, self._driver.CUstream(stream.handle))

    def free(self) -> None:
        """Free the graph, which must not be running on the device."""
        call(self._driver.cuGraphExecDestroy, self._executable)


def capture(driver: Any, stream: Any, enqueue: Callable[[Any], None]) -> Graph:
    """Capture the work that `enqueue` queues on `stream`, without running it.

    driver: the module cuda.bindings.driver

    The same work must have run once before, so that nothing is initialized during the capture.
    Raises CudaCallError, or the exception of `enqueue`; the stream remains usable.
    """
    handle = driver.CUstream(stream.handle)
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    call(driver.cuStreamBeginCapture, handle, mode)
    try:
        enqueue(stream)
    except RestoraError:
        with suppress(CudaCallError):  # ending an invalidated capture returns an error code
            broken = call(driver.cuStreamEndCapture, handle)
            call(driver.cuGraphDestroy, broken)
        raise
    graph = call(driver.cuStreamEndCapture, handle)
    try:
        return Graph(driver, call(driver.cuGraphInstantiate, graph, 0))
    finally:
        call(driver.cuGraphDestroy, graph)

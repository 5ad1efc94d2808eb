"""CUDA graphs: one launch instead of hundreds per network."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from restora.backends.tensorrt.bindings import CudaCallError, call
from restora.backends.tensorrt.profiles import Shape

_SHAPES_REMEMBERED = 256
_this_thread = threading.local()


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

    The same work must have run once before, with the same shape: TensorRT allocates memory in the
    first run after a change of shape, which is not allowed in a capture. The capture concerns this
    thread only, so that other threads can allocate and copy. Raises CudaCallError, or the exception
    of `enqueue`; the stream remains usable.
    """
    handle = driver.CUstream(stream.handle)
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    call(driver.cuStreamBeginCapture, handle, mode)
    _this_thread.capturing = True
    try:
        enqueue(stream)
    except BaseException:
        with suppress(CudaCallError):  # ending an invalidated capture returns an error code
            broken = call(driver.cuStreamEndCapture, handle)
            call(driver.cuGraphDestroy, broken)
        raise
    finally:
        _this_thread.capturing = False
    graph = call(driver.cuStreamEndCapture, handle)
    try:
        return Graph(driver, call(driver.cuGraphInstantiate, graph, 0))
    finally:
        call(driver.cuGraphDestroy, graph)


def is_capturing() -> bool:
    """Whether this thread captures, so that it may not allocate, free or wait."""
    return getattr(_this_thread, "capturing", False)


@dataclass(frozen=True, slots=True)
class _Kept:
    graph: Graph
    context: object  # the execution context, whose memory the graph uses


class GraphCache:
    """The graphs of the shapes that were used last, and which shapes occurred before.

    size: the number of graphs that are kept; each one holds the memory of an execution context
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Shape, _Kept] = OrderedDict()
        self._seen: OrderedDict[Shape, None] = OrderedDict()

    @property
    def is_full(self) -> bool:
        return len(self._kept) >= self._size

    def find(self, shape: Shape) -> Graph | None:
        kept = self._kept.get(shape)
        if kept is None:
            return None
        self._kept.move_to_end(shape)
        return kept.graph

    def occurred_before(self, shape: Shape) -> bool:
        """Whether the shape is known. Remembers it."""
        if shape in self._seen:
            return True
        self._seen[shape] = None
        if len(self._seen) > _SHAPES_REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def keep(self, shape: Shape, graph: Graph, context: object) -> None:
        self._kept[shape] = _Kept(graph, context)

    def drop_oldest(self) -> None:
        """Free the graph that was launched longest ago. It must not be running."""
        self._kept.popitem(last=False)[1].graph.free()

    def clear(self) -> None:
        """Free all graphs, none of which may be running."""
        while self._kept:
            self.drop_oldest()

"""Networks that OpenVINO compiles for one shape of their input."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Arrays = Mapping[str, NDArray[Any]]

_KEPT = 2  # shapes: photos are upright or wide
# of smaller tiles, a network that takes any shape needs less memory than compiling is worth
SMALL_PX = 256 * 256


class Requests:
    """A compiled network with its idle inference requests, each of which runs one batch."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: LifoQueue[Any] = LifoQueue()

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        with self._borrow() as request:
            results = request.infer(dict(inputs), share_inputs=True)
            # copied: the request writes its next results into the same memory
            return [np.array(results[name]) for name in outputs]

    def release_memory(self) -> None:
        """Free the memory of tensors until the next run. Waits for the end of a run."""
        self._compiled.release_memory()

    @contextmanager
    def _borrow(self) -> Iterator[Any]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._idle.put(request)


class FixedShapes:
    """Runs large images on a network that is compiled for their shape.

    OpenVINO then plans the memory of all tensors: RRDBNet takes less than half of what it takes
    with an input of any size. Compiling takes about a second of one core. The last two shapes are
    kept, and only the current one holds memory of tensors.

    source: name of the input, (batch, height, width, channels)
    any_shape: the network that takes all shapes, for images of at most SMALL_PX
    compile_for: compiles the network for a shape of its input
    """

    def __init__(
        self, source: str, any_shape: Requests, compile_for: Callable[[Shape], Requests]
    ) -> None:
        self._source, self._any_shape, self._compile_for = source, any_shape, compile_for
        self._lock = threading.Lock()
        self._kept: OrderedDict[Shape, Requests] = OrderedDict()

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        shape = inputs[self._source].shape
        count, height, width = shape[:3]
        small = count * height * width <= SMALL_PX
        network = self._any_shape if small else self._network_for(shape)
        return network.run(inputs, outputs)

    def _network_for(self, shape: Shape) -> Requests:
        with self._lock:
            found = self._kept.pop(shape, None)
            for other in self._kept.values():
                other.release_memory()
            if found is None:
                if len(self._kept) == _KEPT:
                    self._kept.popitem(last=False)
                found = self._compile_for(shape)
            self._kept[shape] = found
            return found

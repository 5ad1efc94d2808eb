"""What the TensorRT double's builder, parser and runtime do, and what they built."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tensorrt_double import FakeTensorRT


@dataclass(frozen=True)
class BuiltPlan:
    """What a plan holds, and where and with what it was built."""

    shapes: Any
    shared: bool
    flags: set[str]
    gpu: int | None
    onnx: bytes | None
    version: str | None


class World:
    """What the double's builder and parser do. Tests change it."""

    def __init__(self) -> None:
        self.parser_errors: list[dict[str, Any]] = []
        self.fail: Callable[[dict[str, Any]], str | None] = lambda _build: None
        self.warns: tuple[str, ...] = ()  # what the builder warns of
        self.while_logging: Callable[[], None] = lambda: None  # such as a signal that arrives
        self.while_building: Callable[[], None] = lambda: None
        self.steps = 0  # that the last build took, where there are any
        self.swallowed: list[BaseException] = []  # what loggers raised
        self.builds: list[dict[str, Any]] = []
        self.layers: list[Any] = []
        self.timing_cache_is_valid = True
        self.timings_are_lost = False
        self.cuda: Any = None  # a pycuda double whose memory the network works on
        self.network: Callable[[Any], Any] = lambda image: image
        self.execute_fails = False
        self.execute_error: str | None = None  # what execute logs before it returns False
        self.largest_side: int | None = None  # TensorRT's memory is full for larger tiles
        self.context_error: str | None = None  # why there are no execution contexts
        self.profile_fails = False
        self.scratch_fails = False  # the size of the scratch memory cannot be determined
        self.refusal: str | None = None  # why plans are not loaded
        self.io = np.dtype(np.uint8)
        self.scratch_bytes = 4096
        self.contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self.refits = 0
        self.plans: dict[bytes, BuiltPlan] = {}

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that a builder or runtime uses: the one that is current.

        CUDA takes the first GPU if none is. Here that is an error, since it hides who forgot.
        """
        if self.cuda is None:
            return None
        assert self.cuda.current is not None, "no context is current in this thread"
        current: int = self.cuda.current
        return current


def log(trt: FakeTensorRT, owner: Any, severity: str, line: str) -> None:
    """Call a logger as the binding does: what it raises is printed there and forgotten."""
    try:
        trt.world.while_logging()
        owner._args[0].log(SimpleNamespace(name=severity), line)
    except BaseException as error:  # noqa: BLE001
        trt.world.swallowed.append(error)

"""A network on the device: its plans, their shared memory and their CUDA graphs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.tensorrt.bindings import CudaCallError
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.cuda_errors import error_of_code
from restora.backends.tensorrt.graphs import Graph, GraphCache, capture
from restora.backends.tensorrt.loaded import LoadedPlan, PlanContext, tensor_bytes
from restora.backends.tensorrt.memory import DeviceBuffer
from restora.backends.tensorrt.profiles import Shape
from restora.backends.tensorrt.stats import RunStats
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    PlanError,
    SessionError,
    ShapeError,
)

logger = logging.getLogger(__name__)

GRAPHS_KEPT = 8


class EngineRunner:
    """Runs batches in device memory on one stream.

    It is not thread-safe. Use it while its device is current.

    plans: plans for one shape or for a range of shapes
    driver: the module cuda.bindings.driver, for CUDA graphs; None disables them

    All plans share the memory for inputs, outputs and scratch: they run one after the other on
    `stream`, and results must be read on this stream too. When a shape occurs for the second time,
    it runs on a context of its own, which is then captured as a graph; the most recent graphs are
    kept. If a capture fails, no other is tried.
    """

    def __init__(
        self,
        device: Device,
        plans: Sequence[LoadedPlan],
        stream: Any,
        *,
        driver: Any = None,
        graphs_kept: int = GRAPHS_KEPT,
    ) -> None:
        self.device, self.stream = device, stream
        self.plans = sorted(plans, key=lambda plan: (not plan.profile.is_static, plan.profile.best))
        self.info = plans[0].info
        self._driver = driver if graphs_kept else None
        self._graphs_error = None if self._driver is not None else "no graphs are asked for"
        self._graphs = GraphCache(graphs_kept)
        self._captured = self._launched = self._plain = self._pixels = 0
        self._buffers = {
            name: DeviceBuffer(device, f"the network's {name}") for name in (INPUT, OUTPUT, MEANS)
        }
        self._scratch = DeviceBuffer(device, "the network's scratch memory")
        self._contexts: dict[int, PlanContext] = {}

    def split_batch(self, count: int, height: int, width: int) -> list[int]:
        """Split `count` tiles of one size into batches that the plans accept, largest first.

        Raises ShapeError if no plan accepts tiles of this size.
        """
        channels = self.info.input_channels
        sizes = {
            plan.profile.best[0]
            for plan in self.plans
            if plan.profile.is_static and plan.profile.best[1:3] == (height, width)
        }
        sizes |= {
            size
            for plan in self.plans
            for size in range(plan.profile.smallest[0], plan.profile.largest[0] + 1)
            if not plan.profile.is_static and plan.profile.holds((size, height, width, channels))
        }
        split: list[int] = []
        for size in sorted(sizes, reverse=True):
            split += [size] * (count // size)
            count %= size
        if count:
            raise ShapeError(
                f"no plan of {self.info.model} accepts {count} tiles of {height} x {width}, the "
                f"largest side is {self.largest_side}: use a smaller --tile, or "
                "`restora build --max-tile`"
            )
        return split

    @property
    def largest_side(self) -> int:
        return max(plan.profile.largest[1] for plan in self.plans)

    def input_for(self, shape: Shape) -> int:
        """The address for the input of this shape. Write the batch there, on `stream`."""
        self._reserve(INPUT, tensor_bytes(shape, self.info.io))
        return self._buffers[INPUT].address

    def enqueue(self, shape: Shape) -> tuple[int, int]:
        """Queue one run on the input at the address of input_for.

        Returns the addresses of the result and of the channel means.
        Raises ShapeError, SessionError, DeviceMemoryError or DeviceLostError.
        """
        plan = self._pick(shape)
        graph = self._graphs.find(shape)
        if graph is not None:
            self._launch(graph)
        elif self._driver is not None and self._graphs.occurred_before(shape):
            self._run_and_capture(plan, shape)
        else:
            self._run(plan, shape)
        self._pixels += math.prod(shape[:3])
        return self._buffers[OUTPUT].address, self._buffers[MEANS].address

    def stats(self) -> RunStats:
        """What was run so far."""
        return RunStats(
            graphs_captured=self._captured,
            graphs_launched=self._launched,
            plain_runs=self._plain,
            computed_pixels=self._pixels,
            graphs_error=self._graphs_error,
        )

    def close(self) -> None:
        self._wait()
        self._graphs.clear()
        self._contexts.clear()
        for buffer in (*self._buffers.values(), self._scratch):
            buffer.free()
        for plan in self.plans:
            plan.close()

    def release(self) -> None:
        """Free the memory whose size depends on the shapes. It is allocated again on demand."""
        self._wait()
        self._graphs.clear()
        for buffer in (*self._buffers.values(), self._scratch):
            buffer.free()

    def _pick(self, shape: Shape) -> LoadedPlan:
        for plan in self.plans:
            if plan.profile.holds(shape):
                return plan
        raise ShapeError(
            f"no plan of {self.info.model} accepts {shape}; there are plans up to "
            + ", ".join(str(plan.profile.largest) for plan in self.plans)
        )

    def _context_of(self, plan: LoadedPlan) -> PlanContext:
        number = self.plans.index(plan)
        if number not in self._contexts:
            self._contexts[number] = plan.make_context(self.stream)
        return self._contexts[number]

    def _prepare(self, context: PlanContext, shape: Shape) -> None:
        """Set the shape, the scratch memory and the addresses of a context."""
        shapes = context.set_shape(shape)
        scale = self.info.scale
        expected = (shape[0], shape[1] * scale, shape[2] * scale, self.info.output_channels)
        if shapes[OUTPUT] != expected:
            raise SessionError(
                f"the plan of {self.info.model} must return shape {expected}, it returns "
                f"{shapes[OUTPUT]}: build it again"
            )
        self._reserve(OUTPUT, tensor_bytes(shapes[OUTPUT], self.info.io))
        self._reserve(MEANS, tensor_bytes(shapes[MEANS], "float32"))
        needed = context.scratch_bytes()
        if needed > self._scratch.size:
            self._grow(self._scratch, needed)
        # set even if no memory is needed, since the context was created without memory
        context.set_scratch(self._scratch.of_size(needed), self._scratch.size)
        context.set_addresses({name: buffer.address for name, buffer in self._buffers.items()})

    def _reserve(self, name: str, size: int) -> None:
        if size > self._buffers[name].size:
            self._grow(self._buffers[name], size)

    def _grow(self, buffer: DeviceBuffer, size: int) -> None:
        """Grow a buffer. If its address changes, all graphs are dropped, since they contain it."""
        self._wait()
        self._graphs.clear()
        buffer.of_size(size)

    def _wait(self) -> None:
        with self.device.errors(f"running {self.info.model}"):
            self.stream.synchronize()

    def _run(self, plan: LoadedPlan, shape: Shape) -> None:
        context = self._context_of(plan)
        self._prepare(context, shape)
        context.enqueue(self.stream)
        self._plain += 1

    def _run_and_capture(self, plan: LoadedPlan, shape: Shape) -> None:
        """Run a batch on a context of its own, and capture the next run of this context."""
        if self._graphs.is_full:
            self._wait()
            self._graphs.drop_oldest()
        try:
            graph, context = self._capture(plan, shape)
        except DeviceLostError:
            raise
        except (SessionError, PlanError) as error:
            if isinstance(error, DeviceMemoryError):
                self._graphs.clear()
            # as text, since an exception keeps its frames and their context alive
            self._stop_capturing(str(error))
        else:
            self._graphs.keep(shape, graph, context)
            self._captured += 1
            self._plain += 1
            return
        # this also shows whether the failed capture left the stream and the plan usable
        self._run(plan, shape)
        self._wait()

    def _capture(self, plan: LoadedPlan, shape: Shape) -> tuple[Graph, PlanContext]:
        context = plan.make_context(self.stream)
        self._prepare(context, shape)
        context.enqueue(self.stream)
        self._wait()
        return capture(self._driver, self.stream, context.enqueue), context

    def _stop_capturing(self, reason: str) -> None:
        logger.warning("%s runs without CUDA graphs: %s", self.info.model, reason)
        self._driver, self._graphs_error = None, reason

    def _launch(self, graph: Graph) -> None:
        try:
            graph.launch(self.stream)
        except CudaCallError as error:
            doing = f"running {self.info.model}"
            raise error_of_code(error.code or 0, doing, error) from error
        self._launched += 1

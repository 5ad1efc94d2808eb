"""A network on the device: its plans, their shared memory and their CUDA graphs."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.graphs import Graph, capture
from restora.backends.tensorrt.loaded import (
    INPUT,
    MEANS,
    OUTPUT,
    LoadedPlan,
    PlanContext,
    tensor_bytes,
)
from restora.backends.tensorrt.memory import DeviceBuffer
from restora.backends.tensorrt.profiles import Shape
from restora.errors import DeviceLostError, PlanError, SessionError, ShapeError

logger = logging.getLogger(__name__)

GRAPHS_KEPT = 8
_SHAPES_REMEMBERED = 256


@dataclass(slots=True)
class _Captured:
    context: PlanContext
    graph: Graph


class EngineRunner:
    """Runs batches in device memory on one stream.

    It is not thread-safe. Use it while its device is current.

    plans: plans for one shape or for a range of shapes
    driver: the module cuda.bindings.driver, for CUDA graphs; None disables them

    All plans share the memory for inputs, outputs and scratch: they run one after the other on
    `stream`, and results must be read on this stream too. When a shape occurs for the second time,
    it is captured as a graph; the most recent graphs are kept.
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
        self._graphs_kept = graphs_kept
        self._buffers = {
            name: DeviceBuffer(device, f"the network's {name}") for name in (INPUT, OUTPUT, MEANS)
        }
        self._scratch = DeviceBuffer(device, "the network's scratch memory")
        self._contexts: dict[int, PlanContext] = {}
        self._captured: OrderedDict[Shape, _Captured] = OrderedDict()
        self._seen: OrderedDict[Shape, None] = OrderedDict()

    def split_batch(self, count: int, height: int, width: int) -> list[int]:
        """Split `count` tiles of one size into batches that the plans accept, largest first.

        Raises ShapeError if no plan accepts tiles of this size.
        """
        sizes = {
            plan.profile.best[0]
            for plan in self.plans
            if plan.profile.is_static and plan.profile.best[1:3] == (height, width)
        }
        sizes |= {
            size
            for plan in self.plans
            for size in range(plan.profile.smallest[0], plan.profile.largest[0] + 1)
            if not plan.profile.is_static and plan.profile.holds((size, height, width, 3))
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
        if not self._launch_captured(shape):
            plan = self._pick(shape)
            context = self._context_of(plan)
            self._prepare(context, shape)
            context.enqueue(self.stream)
            self._note(plan, shape)
        return self._buffers[OUTPUT].address, self._buffers[MEANS].address

    def close(self) -> None:
        self.stream.synchronize()
        self._forget_graphs()
        self._contexts.clear()
        for buffer in (*self._buffers.values(), self._scratch):
            buffer.free()
        for plan in self.plans:
            plan.close()

    def release(self) -> None:
        """Free the memory whose size depends on the shapes. It is allocated again on demand."""
        self.stream.synchronize()
        self._forget_graphs()
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
        expected = (shape[0], shape[1] * scale, shape[2] * scale, shape[3])
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
        with self.device.errors(f"running {self.info.model}"):
            self.stream.synchronize()
        self._forget_graphs()
        buffer.of_size(size)

    def _note(self, plan: LoadedPlan, shape: Shape) -> None:
        """Remember the shape of a run, and capture a graph if it has run before."""
        if self._driver is None:
            return
        if shape not in self._seen:
            self._seen[shape] = None
            if len(self._seen) > _SHAPES_REMEMBERED:
                self._seen.popitem(last=False)
            return
        try:
            context = plan.make_context(self.stream)
            self._prepare(context, shape)
            graph = capture(self._driver, self.stream, context.enqueue)
        except DeviceLostError:
            raise
        except (SessionError, PlanError) as error:
            # as text, since an exception keeps its frames and their streams alive
            logger.warning("%s runs without CUDA graphs: %s", self.info.model, str(error))
            self._driver = None
            return
        self._captured[shape] = _Captured(context, graph)
        if len(self._captured) > self._graphs_kept:
            self.stream.synchronize()
            self._captured.popitem(last=False)[1].graph.free()

    def _launch_captured(self, shape: Shape) -> bool:
        captured = self._captured.get(shape)
        if captured is None:
            return False
        self._captured.move_to_end(shape)
        try:
            captured.graph.launch(self.stream)
        except SessionError as error:
            raise DeviceLostError(
                f"the GPU failed while running {self.info.model} ({error}): this process cannot "
                "use it any more, start a new one"
            ) from error
        return True

    def _forget_graphs(self) -> None:
        for captured in self._captured.values():
            captured.graph.free()
        self._captured.clear()

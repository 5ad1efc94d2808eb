"""A loaded plan and its execution contexts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.backends.tensorrt.profiles import Profile, Shape
from restora.errors import PlanError, SessionError

INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"
Shapes = Mapping[str, tuple[int, ...]]


class LoadedPlan:
    """A deserialized plan. Use it while its device is current.

    onnx: the artifact, which provides the weights of a plan that was built without them

    Raises PlanError if TensorRT refuses the plan.
    """

    def __init__(
        self,
        trt: Any,
        device: Device,
        plan: bytes,
        *,
        info: ArtifactInfo,
        profile: Profile,
        onnx: bytes | None = None,
        version_compatible: bool = False,
    ) -> None:
        self.trt, self.device = trt, device
        self.info, self.profile = info, profile
        self.log = BuildLog()
        # the logger must outlive the runtime, the runtime the engine, the engine its contexts
        self._logger = make_logger(trt, self.log)
        self._runtime = trt.Runtime(self._logger)
        if version_compatible:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise PlanError(
                self.log.describe(
                    f"TensorRT {trt.__version__} does not load the plan of {info.model}; a plan "
                    "runs only on the kind of GPU and with the version that built it: build it "
                    "again with `restora build`"
                )
            )
        if onnx is not None:
            self._refit(onnx)

    def make_context(self, stream: Any) -> PlanContext:
        """Make a context that uses scratch memory of the caller.

        Raises DeviceMemoryError or PlanError.
        """
        if self._engine is None:
            raise SessionError(f"the plan of {self.info.model} is closed")
        strategy = getattr(self.trt, "ExecutionContextAllocationStrategy", None)
        with self.device.errors(f"making a context of {self.info.model}"):
            if strategy is None:
                context = self._engine.create_execution_context_without_device_memory()
            else:
                context = self._engine.create_execution_context(strategy.USER_MANAGED)
        if context is None:
            raise PlanError(self.log.describe(f"{self.info.model} has no execution context"))
        if not context.set_optimization_profile_async(0, stream.handle):
            raise PlanError(self.log.describe(f"{self.info.model} cannot use its profile"))
        stream.synchronize()
        return PlanContext(self, self._engine, context)

    def close(self) -> None:
        """Free the engine and the runtime, after all contexts."""
        self._engine = None
        self._runtime = None

    def _refit(self, onnx: bytes) -> None:
        refitter = self.trt.Refitter(self._engine, self._logger)
        parser = self.trt.OnnxParserRefitter(refitter, self._logger)
        if not parser.refit_from_bytes(onnx) or not refitter.refit_cuda_engine():
            raise PlanError(self.log.describe(f"{self.info.model} cannot be refitted"))


class PlanContext:
    """An execution context. Use it on one stream, from one thread at a time."""

    def __init__(self, plan: LoadedPlan, engine: Any, context: Any) -> None:
        self._plan, self._engine, self._context = plan, engine, context

    def set_shape(self, shape: Shape) -> Shapes:
        """Set the shape of the input. Returns the shapes of the outputs. Raises SessionError."""
        log = self._plan.log
        if not self._context.set_input_shape(INPUT, shape):
            raise SessionError(log.describe(f"TensorRT refuses the shape {shape}"))
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in (OUTPUT, MEANS)}
        for name, result in shapes.items():
            if min(result) < 0:
                raise SessionError(f"TensorRT returns no complete shape for {name}: {result}")
        return shapes

    def scratch_bytes(self) -> int:
        """Scratch memory that the current shape needs, in bytes."""
        if hasattr(self._context, "update_device_memory_size_for_shapes"):
            return int(self._context.update_device_memory_size_for_shapes())
        return int(self._engine.device_memory_size)

    def set_scratch(self, address: int, size: int) -> None:
        if hasattr(self._context, "set_device_memory"):
            self._context.set_device_memory(address, size)
        else:
            self._context.device_memory = address

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise SessionError(self._plan.log.describe(f"TensorRT refuses the address {name}"))

    def enqueue(self, stream: Any) -> None:
        """Queue one run. Raises SessionError or DeviceLostError."""
        with self._plan.device.errors(f"running {self._plan.info.model}"):
            if not self._context.execute_async_v3(stream.handle):
                model = self._plan.info.model
                raise SessionError(self._plan.log.describe(f"{model} failed on the GPU"))


def tensor_bytes(shape: tuple[int, ...], dtype: str | type) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize

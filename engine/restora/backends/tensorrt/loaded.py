"""A loaded plan and its execution contexts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from restora.artifact import ArtifactInfo
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.cuda_errors import lost_error, memory_error, says_lost
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.backends.tensorrt.profiles import Profile, Shape
from restora.errors import PlanError, RestoraError, SessionError

Shapes = Mapping[str, tuple[int, ...]]


class LoadedPlan:
    """A deserialized plan. Use it while its device is current.

    onnx: the artifact, which provides the weights of a plan that was built without them

    Raises PlanError if TensorRT refuses the plan, and DeviceMemoryError if it does not fit.
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
            raise self.failure(
                f"loading the plan of {info.model}",
                f"TensorRT {trt.__version__} does not load the plan of {info.model}; a plan runs "
                "only on the kind of GPU and with the version that built it: build it again with "
                "`restora build`",
                PlanError,
            )
        if onnx is not None:
            self._refit(onnx)

    def make_context(self, stream: Any) -> PlanContext:
        """Make a context that uses scratch memory of the caller.

        Raises DeviceMemoryError or PlanError.
        """
        if self._engine is None:
            raise SessionError(f"the plan of {self.info.model} is closed")
        model, doing = self.info.model, f"making a context of {self.info.model}"
        strategy = getattr(self.trt, "ExecutionContextAllocationStrategy", None)
        self.log.forget()
        with self.device.errors(doing):
            if strategy is None:
                context = self._engine.create_execution_context_without_device_memory()
            else:
                context = self._engine.create_execution_context(strategy.USER_MANAGED)
            if context is None:
                raise self.failure(doing, f"{model} has no execution context", PlanError)
            try:
                context.set_optimization_profile_async(0, stream.handle)
            except RuntimeError as error:  # the binding returns no False
                reason = f"{model} cannot use its profile ({error})"
                raise self.failure(doing, reason, PlanError) from error
            stream.synchronize()
        return PlanContext(self, self._engine, context)

    def failure(
        self, doing: str, what: str, otherwise: type[PlanError] | type[SessionError]
    ) -> RestoraError:
        """The error for a call of TensorRT that failed, chosen by what TensorRT logged."""
        reason = self.log.describe(what)
        if self.log.out_of_memory:
            return memory_error(doing, reason)
        if says_lost(reason):
            return lost_error(doing, reason)
        return otherwise(reason)

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
        self._plan.log.forget()
        if not self._context.set_input_shape(INPUT, shape):
            raise self._failure(f"TensorRT refuses the shape {shape}")
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in (OUTPUT, MEANS)}
        for name, result in shapes.items():
            if min(result) < 0:
                raise SessionError(f"TensorRT returns no complete shape for {name}: {result}")
        return shapes

    def scratch_bytes(self) -> int:
        """Scratch memory that the current shape needs, in bytes. Raises SessionError."""
        if not hasattr(self._context, "update_device_memory_size_for_shapes"):
            return int(self._engine.device_memory_size)  # of the largest shape of the profile
        needed = int(self._context.update_device_memory_size_for_shapes())
        if needed == 0 and _largest_scratch(self._engine) > 0:  # 0 is the error code
            raise self._failure("TensorRT cannot determine the scratch memory for this shape")
        return needed

    def set_scratch(self, address: int, size: int) -> None:
        if hasattr(self._context, "set_device_memory"):
            self._context.set_device_memory(address, size)
        else:
            self._context.device_memory = address

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"TensorRT refuses the address of {name}")

    def enqueue(self, stream: Any) -> None:
        """Queue one run. Raises SessionError, DeviceMemoryError or DeviceLostError."""
        with self._plan.device.errors(f"running {self._plan.info.model}"):
            if not self._context.execute_async_v3(stream.handle):
                raise self._failure(f"{self._plan.info.model} failed on the GPU")

    def _failure(self, what: str) -> RestoraError:
        return self._plan.failure(f"running {self._plan.info.model}", what, SessionError)


def _largest_scratch(engine: Any) -> int:
    """Scratch memory that the largest shape of all profiles needs, in bytes."""
    name = "device_memory_size_v2"  # the other one is gone in TensorRT 11
    return int(getattr(engine, name if hasattr(engine, name) else "device_memory_size"))


def tensor_bytes(shape: tuple[int, ...], dtype: str | type) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize

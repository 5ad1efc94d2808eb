"""Run a plan on batches from host memory: the plain way, for checks and as a session's core."""

from __future__ import annotations

import math
import threading
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact import ArtifactInfo
from restora.errors import PlanError, SessionError, ShapeError
from restora.tensorrt.cuda import Device, DeviceBuffer
from restora.tensorrt.log import BuildLog, make_logger
from restora.tensorrt.profiles import Profile

INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"
Batch = NDArray[np.uint8 | np.float32]


class PlanRunner:
    """A deserialised plan with one context and one stream. Safe to call from several threads,
    which then take turns.

    onnx  the artefact, needed to put weights back into a plan built without them
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
        self._trt, self._device = trt, device
        self.info, self.profile = info, profile
        self._lock = threading.Lock()
        self._log = BuildLog()
        self._logger = make_logger(trt, self._log)
        with device.current():
            self._runtime = trt.Runtime(self._logger)
            if version_compatible:
                self._runtime.engine_host_code_allowed = True
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise PlanError(self._log.describe(f"the plan of {info.model} cannot be loaded"))
            if onnx is not None:
                self._refit(onnx)
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise PlanError(self._log.describe(f"{info.model} gets no execution context"))
            self._stream = device.cuda.Stream()
            self._buffers = {name: DeviceBuffer(device) for name in (INPUT, OUTPUT, MEANS)}

    def run(self, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
        """Returns the network's result and the means of its channels.

        Raises ShapeError for a batch outside of the profile, SessionError if the GPU failed.
        """
        if batch.dtype != np.dtype(self.info.io) or not self.profile.holds(batch.shape):
            raise ShapeError(
                f"this plan takes {self.info.io} batches from {self.profile.smallest} to "
                f"{self.profile.largest}, got {batch.dtype} of shape {batch.shape}"
            )
        with self._lock, self._device.current():
            return self._run(np.ascontiguousarray(batch))

    def _run(self, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
        cuda, context = self._device.cuda, self._context
        if context is None:
            raise SessionError(f"the plan of {self.info.model} is closed")
        if not context.set_input_shape(INPUT, batch.shape):
            raise SessionError(self._log.describe(f"TensorRT refuses the shape {batch.shape}"))
        results: dict[str, NDArray[Any]] = {}
        for name, dtype in ((OUTPUT, np.dtype(self.info.io)), (MEANS, np.dtype(np.float32))):
            shape = tuple(context.get_tensor_shape(name))
            if min(shape) < 0:
                raise SessionError(f"TensorRT does not tell the shape of {name}: {shape}")
            results[name] = np.empty(shape, dtype)
            size = math.prod(shape) * dtype.itemsize
            context.set_tensor_address(name, self._buffers[name].of_size(max(1, size)))
        source = self._buffers[INPUT].of_size(batch.nbytes)
        context.set_tensor_address(INPUT, source)
        try:
            cuda.memcpy_htod_async(source, batch, self._stream)
            if not context.execute_async_v3(self._stream.handle):
                raise SessionError(self._log.describe(f"{self.info.model} failed on the GPU"))
            for name, result in results.items():
                address = self._buffers[name].of_size(result.nbytes)
                cuda.memcpy_dtoh_async(result, address, self._stream)
            self._stream.synchronize()
        except cuda.Error as error:
            raise SessionError(
                f"the GPU failed on {self.info.model} ({error}): after an illegal access this "
                "process cannot use it any more"
            ) from error
        return results[OUTPUT], results[MEANS]

    def close(self) -> None:
        """Free memory, context, engine and runtime, in this order."""
        with self._lock, self._device.current():
            for buffer in self._buffers.values():
                buffer.free()
            self._context = self._engine = self._runtime = None

    def __enter__(self) -> PlanRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _refit(self, onnx: bytes) -> None:
        """Put the artefact's weights into a plan that was built without them."""
        refitter = self._trt.Refitter(self._engine, self._logger)
        parser = self._trt.OnnxParserRefitter(refitter, self._logger)
        if not parser.refit_from_bytes(onnx) or not refitter.refit_cuda_engine():
            raise PlanError(self._log.describe(f"{self.info.model} cannot be refitted"))

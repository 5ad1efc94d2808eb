"""Run a plan on batches in host memory, one at a time. Used for checks."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.artifact import ArtifactInfo
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.loaded import LoadedPlan, PlanContext
from restora.backends.tensorrt.memory import DeviceBuffer
from restora.backends.tensorrt.profiles import Profile
from restora.errors import SessionError, ShapeError

Batch = NDArray[np.uint8 | np.float32]


class PlanRunner:
    """A plan with one context and one stream. Several threads may call it; they take turns.

    onnx: the artifact, which provides the weights of a plan that was built without them
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
        self._device = device
        self.info, self.profile = info, profile
        self._lock = threading.Lock()
        with device.current():
            self._plan = LoadedPlan(
                trt,
                device,
                plan,
                info=info,
                profile=profile,
                onnx=onnx,
                version_compatible=version_compatible,
            )
            self._stream = device.make_stream()
            self._context: PlanContext | None = self._plan.make_context(self._stream)
            self._buffers = {name: DeviceBuffer(device, name) for name in (INPUT, OUTPUT, MEANS)}
            self._scratch = DeviceBuffer(device, "scratch memory")

    def run(self, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
        """Run a batch. Returns the result of the network and its channel means.

        Raises ShapeError for a batch outside of the profile, and SessionError if the GPU fails.
        """
        if batch.dtype != np.dtype(self.info.io) or not self.profile.holds(batch.shape):
            raise ShapeError(
                f"this plan takes {self.info.io} batches from {self.profile.smallest} to "
                f"{self.profile.largest}, got {batch.dtype} of shape {batch.shape}"
            )
        with self._lock, self._device.current(), self._device.errors(f"running {self.info.model}"):
            return self._run(np.ascontiguousarray(batch))

    def _run(self, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
        cuda, context = self._device.cuda, self._context
        if context is None:
            raise SessionError(f"the plan of {self.info.model} is closed")
        count, height, width, channels = batch.shape
        shapes = context.set_shape((count, height, width, channels))
        restored: Batch = np.empty(shapes[OUTPUT], batch.dtype)
        means = np.empty(shapes[MEANS], np.float32)
        sizes = {INPUT: batch.nbytes, OUTPUT: restored.nbytes, MEANS: means.nbytes}
        addresses = {name: self._buffers[name].of_size(size) for name, size in sizes.items()}
        context.set_addresses(addresses)
        context.set_scratch(self._scratch.of_size(context.scratch_bytes()), self._scratch.size)
        cuda.memcpy_htod_async(addresses[INPUT], batch, self._stream)
        context.enqueue(self._stream)
        cuda.memcpy_dtoh_async(restored, addresses[OUTPUT], self._stream)
        cuda.memcpy_dtoh_async(means, addresses[MEANS], self._stream)
        self._stream.synchronize()
        return restored, means

    def close(self) -> None:
        """Free the memory, the context, the engine and the runtime, in this order."""
        with self._lock, self._device.current():
            for buffer in (*self._buffers.values(), self._scratch):
                buffer.free()
            self._context = None
            self._plan.close()
            # PyCUDA frees the stream with its last reference, while its context is current
            self._stream = None

    def __enter__(self) -> PlanRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

"""Run plans on an NVIDIA GPU with TensorRT.

An image is uploaded once, tiled, restored and blended on the device, and downloaded once. Copies
use pinned memory and separate streams: while one image is computed, the next one is uploaded and
the previous one downloaded. Call a session from two threads to benefit from this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends.base import Batch, SizeLimits, check_batch, check_finite, limits_of
from restora.backends.tensorrt.bindings import CudaCallError
from restora.backends.tensorrt.blend_kernel import BlendKernel
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.network import EngineRunner
from restora.backends.tensorrt.slot import Slot, Slots
from restora.backends.tensorrt.tiles import Plane, TileRun
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    SessionError,
)
from restora.tiling import Progress, Tiling, plan_tiles, run_tiles

logger = logging.getLogger(__name__)

MEANS_BYTES = 3 * 4
# A shape with a plan of its own wins where it computes at most 3 % more. Plans for a range of sizes
# have kernels chosen for one of them; how much slower they are on others is not measured yet.
_OTHER_TILES_COST = 1.03
_CALLS = 2  # one image is computed while another one is copied


class TensorRTSession:
    """A session with plans of one network on one GPU.

    plans: at least one plan, loaded on `device`
    driver: returns the module cuda.bindings.driver, for CUDA graphs; None disables them
    nvrtc: returns the module cuda.bindings.nvrtc, which compiles the blend kernel; with None, tiles
        are blended on the CPU

    If `driver` or `nvrtc` raises MissingBackendError, the session works without it and logs that.
    """

    def __init__(
        self,
        device: Device,
        plans: Sequence[LoadedPlan],
        *,
        driver: Callable[[], Any] | None,
        nvrtc: Callable[[], Any] | None,
    ) -> None:
        self._device = device
        self._info = plans[0].info
        self._limits = _limits_of(self._info, plans)
        self._lock = threading.Lock()  # the order of work on the compute stream
        self._lost: DeviceLostError | None = None
        self._closed = False
        with device.current(), device.errors("starting"):
            self._to_device, self._compute, self._to_host = (device.cuda.Stream() for _ in range(3))
            self._network = EngineRunner(
                device, plans, self._compute, driver=_try("CUDA graphs", driver)
            )
            self._slots = Slots(device)
            self._blend_kernel = self._compile_blend_kernel(
                _try("blending tiles on the GPU", nvrtc)
            )

    @property
    def info(self) -> ArtifactInfo:
        return self._info

    @property
    def limits(self) -> SizeLimits:
        return self._limits

    def run(self, batch: Batch) -> Batch:
        check_batch(batch, self._info, self._limits)
        count, height, width, _ = batch.shape
        with self._working() as slot:
            source = slot.upload(batch, slot.source, self._to_device)
            uploaded = slot.mark(self._to_device)
            with self._lock:
                self._compute.wait_for_event(uploaded)
                shape = self._enqueue_batch(slot, source, count, height, width)
                finished = slot.mark(self._compute)
            result = np.empty(shape, batch.dtype)
            means = np.empty((count, 3), np.float32)
            self._to_host.wait_for_event(finished)
            slot.download(result, slot.canvas.address, self._to_host)
            slot.download(means, slot.means.address, self._to_host)
        check_finite(means, self._info)
        return result

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        height, width, _ = image.shape
        scale = self._info.scale
        multiple = self._limits.multiple
        plan = plan_tiles(height, width, tiling, multiple=multiple, scale=scale)
        if self._blend_kernel is None and len(plan.col_ramp) + len(plan.row_ramp):
            return run_tiles(
                image, self.run, scale=scale, tiling=tiling, multiple=multiple, progress=progress
            )
        with self._working() as slot:
            address = slot.upload(image, slot.source, self._to_device)
            ramps = np.concatenate((plan.col_ramp, plan.row_ramp, np.zeros(1, np.float32)))
            weights = slot.upload(ramps, slot.ramps, self._to_device)
            uploaded = slot.mark(self._to_device)
            bands: list[tuple[int, Any]] = []
            with self._lock:
                self._compute.wait_for_event(uploaded)
                source = Plane(address, width)
                run = TileRun(
                    self._network,
                    slot,
                    plan,
                    source=source,
                    ramps=weights,
                    blend_kernel=self._blend_kernel,
                )
                bands += [(rows, slot.mark(self._compute)) for rows in run.enqueue()]
                finished = slot.mark(self._compute)
            result = np.empty((run.height, run.width, 3), image.dtype)
            done, row_bytes = 0, run.width * 3 * image.itemsize
            for rows, event in bands:
                self._to_host.wait_for_event(event)
                slot.download(
                    result[done:rows], run.canvas.address + done * row_bytes, self._to_host
                )
                done = rows
                if progress is not None:
                    progress(done * run.width, run.height * run.width)
            means = np.empty((run.count, 3), np.float32)
            self._to_host.wait_for_event(finished)
            slot.download(means, slot.means.address, self._to_host)
        check_finite(means, self._info)
        return result

    def close(self) -> None:
        with self._slots.borrow_all(), self._device.current():
            if self._closed:
                return
            self._closed = True
            try:
                self._network.close()
                self._slots.free()
            except self._device.cuda.Error as error:
                # memory of a lost GPU is only freed when the process ends
                logger.warning("%s: not all memory was freed: %s", self._info.model, error)
            # PyCUDA frees these with their last reference, while their context is current
            self._blend_kernel = None
            del self._network, self._to_device, self._compute, self._to_host
        self._device.close()

    @contextmanager
    def _working(self) -> Iterator[Slot]:
        """Borrow a slot, translate errors, and wait until nothing in the slot is running."""
        with self._slots.borrow() as slot:
            if self._closed:
                raise SessionError(f"the session of {self._info.model} is closed")
            if self._lost is not None:
                raise DeviceLostError(str(self._lost))
            with self._device.current():
                slot.start()
                try:
                    with self._device.errors(f"running {self._info.model}"):
                        yield slot
                except DeviceLostError as error:
                    self._lost = error
                    raise
                except DeviceMemoryError:
                    self._wait()
                    slot.free_memory()
                    self._slots.free_idle_memory()
                    with self._lock:
                        self._network.release()
                    raise
                except BaseException:
                    self._wait()
                    raise

    def _wait(self) -> None:
        """Wait for all queued work."""
        try:
            with self._device.errors("finishing"):
                for stream in (self._to_device, self._compute, self._to_host):
                    stream.synchronize()
        except DeviceLostError as error:
            self._lost = error
            raise

    def _enqueue_batch(
        self, slot: Slot, source: int, count: int, height: int, width: int
    ) -> tuple[int, int, int, int]:
        """Queue a batch from `source` to slot.canvas. Returns the shape of the result."""
        cuda, item = self._device.cuda, np.dtype(self._info.io).itemsize
        scale = self._info.scale
        shape = (count, height * scale, width * scale, 3)
        read_bytes = height * width * 3 * item
        written_bytes = read_bytes * scale**2
        canvas = slot.canvas.of_size(count * written_bytes)
        means = slot.means.of_size(count * MEANS_BYTES)
        done = 0
        for part in self._network.split_batch(count, height, width):
            target = self._network.input_for((part, height, width, 3))
            first = source + done * read_bytes
            cuda.memcpy_dtod_async(target, first, part * read_bytes, self._compute)
            restored, part_means = self._network.enqueue((part, height, width, 3))
            cuda.memcpy_dtod_async(
                canvas + done * written_bytes, restored, part * written_bytes, self._compute
            )
            cuda.memcpy_dtod_async(
                means + done * MEANS_BYTES, part_means, part * MEANS_BYTES, self._compute
            )
            done += part
        return shape

    def _compile_blend_kernel(self, nvrtc: Any) -> BlendKernel | None:
        if nvrtc is None:
            return None
        try:
            return BlendKernel(self._device, nvrtc, self._info.io)
        except CudaCallError as error:
            logger.warning("tiles are blended on the CPU, which is slower: %s", error)
            return None


def _limits_of(info: ArtifactInfo, plans: Sequence[LoadedPlan]) -> SizeLimits:
    asked = limits_of(info)
    static = [plan.profile.best for plan in plans if plan.profile.is_static]
    best = max(static, default=None)
    return SizeLimits(
        multiple=asked.multiple,
        fixed_tile=asked.fixed_tile,
        min_tile=min(plan.profile.smallest[1] for plan in plans),
        max_tile=max(plan.profile.largest[1] for plan in plans),
        best_tiles=tuple(sorted({(height, width) for _, height, width, _ in static})),
        other_tiles_cost=_OTHER_TILES_COST,
        best_batch=1 if best is None else best[0],
        best_calls=_CALLS,
    )


def _try(what: str, give: Callable[[], Any] | None) -> Any:
    if give is None:
        return None
    try:
        return give()
    except MissingBackendError as error:
        logger.warning("without %s: %s", what, error)
        return None

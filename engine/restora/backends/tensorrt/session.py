"""Run plans on an NVIDIA GPU with TensorRT.

An image is uploaded once, tiled, restored and blended on the device, and downloaded once. Copies
use pinned memory and separate streams: while one image is computed, the next one is uploaded and
the previous one downloaded. Call a session from two threads to benefit from this. The GPU writes
results to the arrays that are returned, in pinned memory that is used again later.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends.base import Batch, SizeLimits, check_batch, check_finite, limits_of
from restora.backends.options import GpuWait
from restora.backends.shell import SessionShell
from restora.backends.tensorrt.bindings import CudaCallError
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.downloads import Downloads
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.network import EngineRunner
from restora.backends.tensorrt.results import ResultPool, default_limit
from restora.backends.tensorrt.slot import Slot, Slots
from restora.backends.tensorrt.stats import RunStats
from restora.backends.tensorrt.tile_kernels import TileKernels, pack_tables
from restora.backends.tensorrt.tiles import Plane, TileRun
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    SessionError,
)
from restora.tiling import Progress, Tiling, plan_tiles, run_tiles

logger = logging.getLogger(__name__)

# A shape with a plan of its own wins where it computes at most 3 % more. Plans for a range of sizes
# have kernels chosen for one of them; how much slower they are on others is not measured yet.
_OTHER_TILES_COST = 1.03
_CALLS = 2  # one image is computed while another one is copied


class TensorRTSession(SessionShell):
    """A session with plans of one network on one GPU.

    plans: at least one plan, loaded on `device`
    driver: returns the module cuda.bindings.driver, for CUDA graphs; None disables them
    nvrtc: returns the module cuda.bindings.nvrtc, which compiles the kernels for tiles; with None,
        tiles are blended on the CPU
    waits: "spin" has the lowest latency; with "block", waiting threads sleep; "auto" sleeps only on
        a GPU that shares its memory with the CPU
    pinned_bytes: limit of the pinned memory for results; more results are copied once more. None is
        2 GiB, but at most an eighth of the memory

    If `driver` or `nvrtc` raises MissingBackendError, the session works without it and logs that.
    """

    def __init__(
        self,
        device: Device,
        plans: Sequence[LoadedPlan],
        *,
        driver: Callable[[], Any] | None,
        nvrtc: Callable[[], Any] | None,
        waits: GpuWait = "auto",
        pinned_bytes: int | None = None,
    ) -> None:
        info = plans[0].info
        super().__init__(info, _limits_of(info, plans))
        self._device = device
        self._lock = threading.Lock()  # the order of work on the compute stream
        self._lost: str | None = None  # not the error itself, whose frames would stay alive
        self._closed = False
        self._counting = threading.Lock()
        self._blended = Counter[str]()
        self._last_stats = RunStats()  # of the network, once the session is closed
        graphs, self._graphs_error = _try("CUDA graphs", driver)
        compiler, self._blend_error = _try("blending tiles on the GPU", nvrtc)
        with device.current(), device.errors("starting"):
            self._compute = device.make_stream()
            self._network = EngineRunner(device, plans, self._compute, driver=graphs)
            blocking = device.integrated if waits == "auto" else waits == "block"
            self._slots = Slots(device, blocking_waits=blocking)
            limit = default_limit() if pinned_bytes is None else pinned_bytes
            self._results = ResultPool(device, limit_bytes=limit)
            self._downloads = Downloads(self._results, np.dtype(info.io))
            self._kernels = self._compile_kernels(compiler)

    def stats(self) -> RunStats:
        """What was run, and how, since the session was opened."""
        stats = self._last_stats if self._closed else self._network.stats()
        return replace(
            stats,
            blended_on_gpu=self._blended["gpu"],
            blended_on_cpu=self._blended["cpu"],
            results_pinned=self._downloads.pinned,
            results_copied=self._downloads.copied,
            graphs_error=self._graphs_error or stats.graphs_error,
            blend_error=self._blend_error,
        )

    def run(self, batch: Batch) -> Batch:
        check_batch(batch, self._info, self._limits)
        count, height, width, _ = batch.shape
        with self._working() as slot:
            source = slot.upload(batch, slot.source)
            uploaded = slot.mark(slot.to_device)
            with self._lock:
                self._compute.wait_for_event(uploaded)
                shape = self._enqueue_batch(slot, source, count, height, width)
                finished = slot.mark(self._compute)
            result = self._downloads.whole(slot, shape, finished=finished)
            means = np.empty((count, shape[3]), np.float32)
            slot.download(means, slot.means.address)  # waits for the result too
        check_finite(means, self._info)
        return result

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        """Restore an image with an upsampler."""
        height, width, _ = image.shape
        scale = self._info.scale
        multiple = self._limits.multiple
        plan = plan_tiles(height, width, tiling, multiple=multiple, scale=scale)
        if self._kernels is None and len(plan.col_ramp) + len(plan.row_ramp):
            self._count_blended("cpu")
            return run_tiles(
                image, self.run, scale=scale, tiling=tiling, multiple=multiple, progress=progress
            )
        with self._working() as slot:
            address = slot.upload(image, slot.source)
            tables = slot.upload(pack_tables(plan, scale), slot.tables)
            uploaded = slot.mark(slot.to_device)
            bands: list[tuple[int, Any]] = []
            with self._lock:
                source = Plane(address, width)
                run = TileRun(self._network, slot, plan, source=source, kernels=self._kernels)
                self._compute.wait_for_event(uploaded)
                bands += [(rows, slot.mark(self._compute)) for rows in run.enqueue(tables)]
            result = self._downloads.in_bands(slot, (run.height, run.width), bands, progress)
            means = np.empty((run.count, 3), np.float32)
            slot.download(means, slot.means.address)  # waits for the result too
        if self._kernels is not None:
            self._count_blended("gpu")
        check_finite(means, self._info)
        return result

    def close(self) -> None:
        """Free all resources. Results that are still in use keep their pinned memory."""
        with self._slots.borrow_all(), self._device.current():
            if self._closed:
                return
            self._closed = True
            self._last_stats = self._network.stats()
            try:
                self._network.close()
                self._slots.free()
            except (SessionError, self._device.cuda.Error) as error:
                # memory of a lost GPU is only freed when the process ends
                logger.warning("%s: not all memory was freed: %s", self._info.model, str(error))
            self._results.free()
            # PyCUDA frees these with their last reference, while their context is current
            self._kernels = None
            del self._network, self._compute

    @contextmanager
    def _working(self) -> Iterator[Slot]:
        """Borrow a slot, translate errors, and wait until nothing in the slot is running."""
        with self._slots.borrow() as slot:
            if self._closed:
                raise self._closed_error()
            if self._lost is not None:
                raise DeviceLostError(self._lost)
            with self._device.current():
                slot.start()
                try:
                    with self._device.errors(f"running {self._info.model}"):
                        yield slot
                except DeviceLostError as error:
                    self._lost = str(error)
                    raise
                except DeviceMemoryError:
                    self._wait(slot)
                    slot.free_memory()
                    self._slots.free_idle_memory()
                    with self._lock:
                        self._network.release()
                    raise
                except BaseException:
                    self._wait(slot)
                    raise

    def _wait(self, slot: Slot) -> None:
        """Wait for all queued work of a slot."""
        try:
            with self._device.errors("finishing"):
                for stream in (slot.to_device, self._compute, slot.to_host):
                    stream.synchronize()
        except DeviceLostError as error:
            self._lost = str(error)
            raise

    def _enqueue_batch(
        self, slot: Slot, source: int, count: int, height: int, width: int
    ) -> tuple[int, int, int, int]:
        """Queue a batch from `source` to slot.canvas. Returns the shape of the result."""
        cuda, item = self._device.cuda, np.dtype(self._info.io).itemsize
        scale = self._info.scale
        given, made = self._info.input_channels, self._info.output_channels
        shape = (count, height * scale, width * scale, made)
        read_bytes = height * width * given * item
        written_bytes = height * width * scale**2 * made * item
        means_bytes = made * np.dtype(np.float32).itemsize
        canvas = slot.canvas.of_size(count * written_bytes)
        means = slot.means.of_size(count * means_bytes)
        done = 0
        for part in self._network.split_batch(count, height, width):
            target = self._network.input_for((part, height, width, given))
            first = source + done * read_bytes
            cuda.memcpy_dtod_async(target, first, part * read_bytes, self._compute)
            restored, part_means = self._network.enqueue((part, height, width, given))
            cuda.memcpy_dtod_async(
                canvas + done * written_bytes, restored, part * written_bytes, self._compute
            )
            cuda.memcpy_dtod_async(
                means + done * means_bytes, part_means, part * means_bytes, self._compute
            )
            done += part
        return shape

    def _compile_kernels(self, nvrtc: Any) -> TileKernels | None:
        if nvrtc is None:
            return None
        try:
            return TileKernels(self._device, nvrtc, self._info.io)
        except CudaCallError as error:
            logger.warning("tiles are blended on the CPU, which is slower: %s", str(error))
            self._blend_error = str(error)
            return None

    def _count_blended(self, where: Literal["cpu", "gpu"]) -> None:
        with self._counting:
            self._blended[where] += 1


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


def _try(what: str, give: Callable[[], Any] | None) -> tuple[Any, str | None]:
    """What `give` returns, or None and the reason."""
    if give is None:
        return None, f"{what}: not asked for"
    try:
        return give(), None
    except MissingBackendError as error:
        logger.warning("without %s: %s", what, str(error))
        return None, str(error)

"""A TensorRT session on doubles, whose network blurs and enlarges real pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cuda_bindings_double import FakeDriver, FakeNvrtc
from fakes import make_info
from pycuda_double import FakeCuda
from restora.backends.options import GpuWait
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.profiles import Profile, plan_profiles
from restora.backends.tensorrt.session import TensorRTSession
from restora.tiling import Tiling, run_tiles
from tensorrt_double import BuiltPlan, FakeTensorRT

Batch = Any


def blur_and_enlarge(batch: Batch) -> Batch:
    """Depends on a pixel's neighbors and on its place in the tile, so that tiles differ wherever
    they overlap, and a seam that is blended otherwise than on the CPU shows."""
    wide = np.pad(batch.astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    level = (wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]) / 4
    large = level.repeat(2, axis=1).repeat(2, axis=2)
    rows, columns = np.indices(large.shape[1:3], np.float32)
    white = 255 if batch.dtype == np.uint8 else 1
    large = large * np.float32(0.75) + ((rows * 5 + columns * 3) % 61 / 61 * white / 4)[..., None]
    return np.rint(large) if batch.dtype == np.uint8 else large.astype(np.float32)


def as_network(io: str) -> Callable[[Batch], Batch]:
    return lambda batch: blur_and_enlarge(batch).astype(io)


class Rig:
    """One session on doubles, and all that it stands on."""

    def __init__(
        self,
        version: str = "10.16",
        *,
        io: Any = "uint8",
        tile: int = 32,
        batches: tuple[int, ...] = (1, 2),
        max_tile: int = 64,
        memory_bytes: int = 1 << 30,
        graphs: bool = True,
        nvrtc: FakeNvrtc | None = None,
        cuda: FakeCuda | None = None,
    ) -> None:
        self.cuda = cuda or FakeCuda(memory_bytes=memory_bytes)
        self.trt = FakeTensorRT(version)
        self.trt.world.cuda = self.cuda
        self.trt.world.io = np.dtype(io)
        self.trt.world.network = blur_and_enlarge
        self.driver = FakeDriver(self.cuda)
        self.nvrtc = nvrtc or FakeNvrtc()
        self.info = make_info(io=io, size_multiple=2)
        self.profiles = plan_profiles(self.info, tile=tile, batches=batches, max_tile=max_tile)
        self.graphs = graphs

    def open(self, *, waits: GpuWait = "auto", pinned_bytes: int = 1 << 24) -> TensorRTSession:
        device = Device(self.cuda)
        with device.current():
            plans = [self.load(device, profile) for profile in self.profiles]
        return TensorRTSession(
            device,
            plans,
            driver=(lambda: self.driver) if self.graphs else None,
            nvrtc=lambda: self.nvrtc,
            waits=waits,
            pinned_bytes=pinned_bytes,
        )

    def load(self, device: Device, profile: Profile) -> LoadedPlan:
        plan = f"PLAN {profile}".encode()
        shapes = (profile.smallest, profile.best, profile.largest)
        self.trt.world.plans[plan] = BuiltPlan(shapes, True, set(), None, None, None)
        return LoadedPlan(self.trt, device, plan, info=self.info, profile=profile)


def picture(height: int, width: int, io: str = "uint8", seed: int = 0) -> Batch:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return values if io == "uint8" else (values / np.float32(255)).astype(np.float32)


def on_the_cpu(image: Batch, tiling: Tiling) -> Batch:
    network = as_network(str(image.dtype))
    return run_tiles(image, network, scale=2, tiling=tiling, multiple=2)

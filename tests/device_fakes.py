"""Restorers for tests of runs over several devices: a process for each opens one of these."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakes import NearestSession, restorer_of
from restora.backends.base import Batch
from restora.errors import DeviceLostError, MissingBackendError, SessionError
from restora.image import Photo, write_photo
from restora.pipeline import Restorer

if TYPE_CHECKING:
    from collections.abc import Callable

POISON, CURSE, PLAIN = 250, 240, 10  # the level of all pixels of a photo
_PATIENCE_S = 30.0


def photo_of(path: Path, level: int = PLAIN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(Photo(np.full((8, 10, 3), level, np.uint8)), path)
    return path


def opener(folder: Path, **options: Any) -> Callable[..., Restorer]:
    """A function that opens a Restorer on a device, as runs over devices take it."""
    return partial(open_nearest, folder, **options)


def open_nearest(folder: Path, *, device: str, **options: Any) -> Restorer:
    return restorer_of(_DeviceSession(folder, device, **options))


def open_none(_folder: Path, *, device: str) -> Restorer:
    if device == "gpu:1":
        raise MissingBackendError("CUDA does not start there")
    return restorer_of(NearestSession())


def open_another_scale(_folder: Path, *, device: str) -> Restorer:
    return restorer_of(NearestSession(scale=4 if device == "gpu:1" else 2))


def die(_folder: Path, *, device: str) -> Restorer:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(device)


class _DeviceSession(NearestSession):
    """Repeats pixels.

    folder: processes meet there
    wait_for: devices that must be at a photo before any goes on; none does twice
    lost: devices that are lost at their first photo
    cursed: photos at level CURSE lose the device that they are on
    """

    def __init__(
        self,
        folder: Path,
        device: str,
        *,
        wait_for: int = 0,
        lost: tuple[str, ...] = (),
        cursed: bool = False,
    ) -> None:
        super().__init__()
        self._folder, self._device = folder, device
        self._wait_for, self._lost, self._cursed = wait_for, lost, cursed

    def run(self, batch: Batch) -> Batch:
        level = int(batch.max())
        if level == POISON:
            with (self._folder / "kills").open("a") as stream:
                stream.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if self._cursed and level == CURSE:
            raise DeviceLostError("the GPU has fallen off the bus")
        (self._folder / f"at.{self._device}").touch()
        until = time.monotonic() + _PATIENCE_S
        while len(list(self._folder.glob("at.*"))) < self._wait_for:
            if time.monotonic() > until:
                raise SessionError("the other devices never got a photo")
            time.sleep(0.005)
        if self._device in self._lost:
            raise DeviceLostError("the GPU has fallen off the bus")
        return super().run(batch)


def open_on_doubles(cache: Path, *, device: str, lost: str | None = None) -> Restorer:
    """A real TensorRT session on doubles of three GPUs. lost: a device whose driver fails once the
    networks are open"""
    from plans_fakes import artifacts_for, working_tensorrt
    from restora.backends.options import PlanOptions, SessionOptions, gpu_of_device
    from restora.backends.tensorrt.cuda import Device
    from restora.backends.tensorrt.open import session_on

    os.environ["XDG_CACHE_HOME"] = str(cache)
    trt = working_tensorrt("10.16", gpus=3)
    cuda = trt.world.cuda
    options = SessionOptions(plans=PlanOptions(tile=32, batches=(1,), max_tile=64, graphs=False))
    gpu = gpu_of_device(device)
    session, _ = session_on(trt, Device(cuda, gpu or 0), artifacts_for(trt), options)
    cuda.lost = device == lost
    return Restorer.from_session(session)


def FakeRestorer(*_: object, device: str, **__: object) -> Restorer:  # noqa: N802
    """Called like Restorer; it opens no model."""
    return restorer_of(NearestSession())

"""Run artifacts with ncnn, on the CPU or on a GPU with Vulkan."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from restora.artifact import Artifact
from restora.backends.base import Batch
from restora.backends.cores import count_allowed_cores
from restora.backends.ncnn.convert import DATA, RESULT, network_from_artifact
from restora.backends.ncnn.frame import PictureFrame, Planes
from restora.backends.ncnn.layers import bin_parts, param_text
from restora.backends.ncnn.module import VulkanDevice, import_ncnn
from restora.backends.options import CpuOptions
from restora.backends.shell import NetworkSession
from restora.errors import DeviceMemoryError, SessionError

Storage = Literal["fp32", "bf16", "fp16"]
_NO_MEMORY = -100  # what ncnn returns if an allocation fails


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """storage: type of weights and features. half: compute in FP16 too, which GPUs can."""

    storage: Storage = "fp32"
    half: bool = False

    def describe(self) -> str:
        return self.storage + (" with FP16 arithmetic" if self.half else "")


FP32 = Arithmetic()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in ncnn, and its frame."""

    net: Any
    frame: PictureFrame


class NcnnSession(NetworkSession[Loaded]):
    """A session on the CPU, or on a GPU of any vendor.

    options: for the CPU; of them, only `threads` is used
    device: the Vulkan device; None runs on the CPU
    half_weights: round the weights of convolutions to FP16

    The caller must check the accuracy. Images of a batch run one after the other, and runs of
    several threads too: each takes all cores, or the whole GPU.
    """

    def __init__(
        self,
        artifact: Artifact,
        options: CpuOptions | None = None,
        *,
        arithmetic: Arithmetic = FP32,
        device: VulkanDevice | None = None,
        half_weights: bool = False,
    ) -> None:
        self.threads = (options or CpuOptions()).threads or count_allowed_cores()
        self._arithmetic, self._device, self._half_weights = arithmetic, device, half_weights
        self._ncnn = import_ncnn()
        self._running = threading.Lock()
        where = f"{self.threads} threads" if device is None else f"Vulkan, {device.name}"
        super().__init__(
            artifact,
            runtime=f"ncnn {self._ncnn.__version__}",
            setup=f"{arithmetic.describe()}, {where}",
        )

    @property
    def precision(self) -> str:
        return self._arithmetic.storage

    def _load(self, artifact: Artifact) -> Loaded:
        network = network_from_artifact(artifact)
        net = self._ncnn.Net()
        self._set_options(net)
        if net.load_param_mem(param_text(network.layers)):
            raise SessionError(f"{self._runtime} cannot load the layers of {self._info.model}")
        # as a file: ncnn refers to weights in memory as long as the network exists
        with tempfile.TemporaryDirectory(prefix="restora-") as folder:
            path = Path(folder, "weights.bin")
            with path.open("wb") as stream:
                stream.writelines(bin_parts(network.layers, half=self._half_weights))
            if net.load_model(str(path)):
                raise SessionError(f"{self._runtime} cannot load the weights of {self._info.model}")
        return Loaded(net, network.frame)

    def _compute(self, network: Loaded, batch: Batch) -> tuple[Any, Any]:
        count, height, width, _ = batch.shape
        scale = self._info.scale
        result = np.empty((count, height * scale, width * scale, 3), batch.dtype)
        means = np.empty((count, 3), np.float32)
        for index, picture in enumerate(batch):
            planes = self._run(network.net, network.frame.planes_of(picture))
            if planes.shape != (3, *result.shape[1:3]):
                raise ValueError(f"its result has shape {planes.shape}")
            means[index] = planes.mean((1, 2))
            network.frame.write_picture(planes, result[index])
        return result, means

    def _run(self, net: Any, planes: Planes) -> Planes:
        with self._running:
            extractor = net.create_extractor()
            # a view of `planes`, which must live until the end of this run
            extractor.input(DATA, self._ncnn.Mat(planes))
            code, output = extractor.extract(RESULT)
        if code == _NO_MEMORY:
            raise DeviceMemoryError(
                f"{self._runtime} has no memory for an image of {planes.shape[1]} x "
                f"{planes.shape[2]}: use smaller tiles (--tile)"
            )
        if code:
            raise RuntimeError(f"code {code}")
        return np.array(output)

    def _set_options(self, net: Any) -> None:
        options, arithmetic = net.opt, self._arithmetic
        options.num_threads = self.threads
        options.use_bf16_storage = arithmetic.storage == "bf16"
        options.use_bf16_packed = arithmetic.storage == "bf16"
        options.use_fp16_storage = arithmetic.storage == "fp16"
        options.use_fp16_packed = arithmetic.storage == "fp16"
        options.use_fp16_arithmetic = arithmetic.half
        options.use_vulkan_compute = self._device is not None
        if self._device is not None:
            net.set_vulkan_device(self._device.index)

"""A network that is loaded into ncnn."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from restora.backends.ncnn.convert import NcnnNetwork
from restora.backends.ncnn.frame import Planes
from restora.backends.ncnn.layers import bin_parts, param_text
from restora.backends.ncnn.module import VulkanDevice
from restora.errors import DeviceMemoryError

Storage = Literal["fp32", "bf16", "fp16"]
_NO_MEMORY = -100  # what ncnn returns if an allocation fails


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """storage: type of weights and features. half: compute in FP16 too, which GPUs can."""

    storage: Storage = "fp32"
    half: bool = False

    def describe(self) -> str:
        return self.storage + (" with FP16 arithmetic" if self.half else "")


class NcnnNet:
    """Runs a network, or a part of it between two blobs. Safe to call from several threads.

    ncnn: the module
    threads: of the CPU
    device: the Vulkan device; None runs on the CPU
    half_weights: round the weights of convolutions to FP16

    Raises RuntimeError if ncnn cannot load the network.
    """

    def __init__(
        self,
        ncnn: Any,
        network: NcnnNetwork,
        arithmetic: Arithmetic,
        *,
        threads: int,
        device: VulkanDevice | None,
        half_weights: bool,
    ) -> None:
        self._ncnn = ncnn
        self._running = threading.Lock()
        self._net = ncnn.Net()
        _set_options(self._net, arithmetic, threads, device)
        if self._net.load_param_mem(param_text(network.layers)):
            raise RuntimeError("its layers are refused")
        # as a file: ncnn refers to weights in memory as long as the network exists
        with tempfile.TemporaryDirectory(prefix="restora-") as folder:
            path = Path(folder, "weights.bin")
            with path.open("wb") as stream:
                stream.writelines(bin_parts(network.layers, half=half_weights))
            if self._net.load_model(str(path)):
                raise RuntimeError("its weights are refused")

    def run(self, source: str, planes: Planes, target: str) -> Planes:
        """Compute the blob `target` from the blob `source`.

        planes: contiguous float32 (channels, height, width)

        One run follows another, since each takes all cores or the whole GPU. Raises
        DeviceMemoryError or RuntimeError.
        """
        with self._running:
            extractor = self._net.create_extractor()
            # a copy with aligned planes: Vulkan reads those of a view of an array wrongly
            extractor.input(source, self._ncnn.Mat(planes).clone())
            code, output = extractor.extract(target)
        if code == _NO_MEMORY:
            raise DeviceMemoryError(
                f"ncnn has no memory for a tile of {planes.shape[1]} x {planes.shape[2]}: use "
                "smaller tiles (--tile)"
            )
        if code:
            raise RuntimeError(f"code {code}")
        return np.array(output)


def _set_options(
    net: Any, arithmetic: Arithmetic, threads: int, device: VulkanDevice | None
) -> None:
    options = net.opt
    options.num_threads = threads
    options.use_bf16_storage = arithmetic.storage == "bf16"
    options.use_bf16_packed = arithmetic.storage == "bf16"
    options.use_fp16_storage = arithmetic.storage == "fp16"
    options.use_fp16_packed = arithmetic.storage == "fp16"
    options.use_fp16_arithmetic = arithmetic.half
    options.use_vulkan_compute = device is not None
    if device is not None:
        net.set_vulkan_device(device.index)

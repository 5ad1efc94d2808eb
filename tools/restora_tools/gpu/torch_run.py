"""A network in PyTorch, on batches of pictures. Needs PyTorch and NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Way:
    """How PyTorch runs a network.

    compiled: torch.compile for one shape, with max-autotune
    """

    name: str
    half: bool = False
    channels_last: bool = False
    compiled: bool = False


EAGER = (
    Way("eager PyTorch FP32"),
    Way("eager PyTorch FP16 channels_last", half=True, channels_last=True),
)
COMPILED = (Way("torch.compile FP16 channels_last", half=True, channels_last=True, compiled=True),)


def prepare_torch() -> None:
    """Let cuDNN search its fastest kernels, and keep FP32 in FP32 as the plans do."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


class TorchRun:
    """One way of running a network in PyTorch.

    It is called with one shape only: a compiled network that sees a second one is compiled again.
    """

    def __init__(self, network: nn.Module, way: Way, *, device: str) -> None:
        self.way, self.device = way, device
        network = network.to(device)
        if way.half:
            network = network.half()
        if way.channels_last:
            _to_channels_last(network)
        self._forward: Callable[[Tensor], Tensor] = network
        if way.compiled:
            self._forward = torch.compile(network, dynamic=False, mode="max-autotune")
        self._input: Tensor | None = None
        self._face = hasattr(network, "stylegan_decoder")

    def __call__(self, batch: Pictures) -> Pictures:
        """Pictures to pictures."""
        with torch.inference_mode():
            y = self._run(self._upload(batch)).float().clamp(0, 1)
            pixels = (y * 255).round().to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def on_device(self, batch: Pictures) -> Tensor:
        """The network alone, on pictures that are on the device already."""
        if self._input is None:
            self._input = self._upload(batch)
        with torch.inference_mode():
            return self._run(self._input)

    def _run(self, x: Tensor) -> Tensor:
        if self._face:
            y: Tensor = (self._forward(x * 2 - 1) + 1) / 2
            return y
        return self._forward(x)

    def _upload(self, batch: Pictures) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device)
        x = x.permute(0, 3, 1, 2).float() / 255
        if self.way.half:
            x = x.half()
        return x.contiguous(
            memory_format=torch.channels_last if self.way.channels_last else torch.contiguous_format
        )


def _to_channels_last(network: nn.Module) -> None:
    """nn.Module.to refuses networks with weights of five dimensions, such as StyleGAN2's."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)

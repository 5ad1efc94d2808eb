"""Layers with an equalized learning rate and FIR resampling, as StyleGAN2 trains them.

Weights are stored at unit variance and scaled by a gain, 1 / sqrt(fan in), at run time (Karras et
al., arXiv:1710.10196, section 4.1); `fold_gains` does that once and for all. Activations are leaky
ReLU 0.2 after adding a bias, times sqrt 2. FIR smoothing by (1, 3, 3, 1) keeps what is doubled or
halved free of aliasing (arXiv:1912.04958).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.2
SQRT2 = math.sqrt(2)
_FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def scaled(parameter: Tensor, gain: float) -> Tensor:
    return parameter if gain == 1 else parameter * gain


def fold_gains(network: nn.Module) -> None:
    """Multiply all gains into the weights, in place; the function stays the same."""
    with torch.no_grad():
        for module in network.modules():
            for parameter, gain in (("weight", "gain"), ("bias", "bias_gain")):
                if hasattr(module, gain):
                    getattr(module, parameter).mul_(getattr(module, gain))
                    setattr(module, gain, 1.0)


class ScaledLeakyReLU(nn.Module):
    """Leaky ReLU 0.2 after an optional bias, times sqrt 2."""

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.bias = None if channels is None else nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None:
            x = x + self.bias.view(1, -1, *[1] * (x.ndim - 2))
        return F.leaky_relu(x, LEAKY_SLOPE) * SQRT2


class EqualLinear(nn.Module):
    """Linear layer; rate scales weight and bias (0.01 in the style MLP), activated ends in one."""

    def __init__(
        self, features_in: int, features_out: int, *, rate: float = 1.0, activated: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features_out, features_in) / rate)
        self.bias = nn.Parameter(torch.zeros(features_out))
        self.gain = rate / math.sqrt(features_in)
        self.bias_gain = rate
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, scaled(self.weight, self.gain), scaled(self.bias, self.bias_gain))
        return F.leaky_relu(x, LEAKY_SLOPE) * SQRT2 if self.activated else x


class EqualConv2d(nn.Module):
    """Convolution of odd kernel; output as large as the input, or stride 2 without padding."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, bias: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.gain = 1 / math.sqrt(channels_in * kernel**2)
        self.stride = stride
        self.padding = kernel // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        weight = scaled(self.weight, self.gain)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Smooth(nn.Module):
    """FIR smoothing after zero padding by `pad` on all sides."""

    def __init__(self, pad: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.register_buffer("kernel", _FIR * gain, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)  # type: ignore[operator]
        return F.conv2d(x, kernel, padding=self.pad, groups=x.shape[1])


def double_fir(x: Tensor) -> Tensor:
    """Insert zeros and smooth, with the gain of 4 that keeps the mean: (n, c, 2h, 2w)."""
    kernel = (_FIR * 4).to(x).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def double_bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def halve_bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


class HalveBilinear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return halve_bilinear(x)

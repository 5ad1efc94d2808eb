"""The modulated layers of StyleGAN2 with constant weights, for any batch size and safe in FP16.

The published form computes weights for each sample and runs a grouped convolution with one group
per sample. This fixes the batch size, cannot be quantized, and overflows in FP16: a style of 1000
makes the sum in the demodulation infinite and the face flat, without a NaN. The following function
is identical:

    m = max |s| of the sample      sn = s / m         y = conv(x * sn, W)
    d = rsqrt(sn**2 @ sum W**2 + eps / m**2)          out = y * d

ToRGB does not demodulate: out = conv(x * sn, W) * m. Styles and demodulation are computed in
FP32, independent of the dtype of the features.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference.equalized import SQRT2, double_bilinear, double_fir, scaled
from restora_export.reference.stylegan2 import ModulatedConv2d, StyleConv, ToRGB

_EPSILON = 1e-8
_TINY = 1e-20  # lower bound of the largest |style|, so that a zero style gives zeros instead of NaN


class ConstantConv(nn.Module):
    """A ModulatedConv2d as a plain convolution between two scalings of the channels.

    dtype: dtype of the features and the convolution
    """

    def __init__(self, conv: ModulatedConv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.modulation = copy.deepcopy(conv.modulation).float()
        weight = scaled(conv.weight[0], conv.gain)
        if conv.demodulate:
            self.register_buffer("power", weight.square().sum((2, 3)).T.contiguous())
        self.demodulate = conv.demodulate
        self.doubles = conv.doubles
        self.fir = conv.smooth is not None
        self.smooth = conv.smooth
        kernel = weight.transpose(0, 1) if self.fir else weight
        self.weight = nn.Parameter(kernel.contiguous().to(dtype))

    def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of the convolution and its factor, (batch, channels, 1, 1), in FP32.

        The caller multiplies it with other factors before applying it."""
        factors: Tensor = self.modulation(style)
        largest = factors.abs().amax(1, keepdim=True).clamp_min(_TINY)
        normed = factors / largest
        x = x * normed[:, :, None, None].to(x.dtype)
        if self.demodulate:
            power = self.power
            assert isinstance(power, Tensor)
            rest = torch.rsqrt(normed.square() @ power + _EPSILON / largest.square())
        else:
            rest = largest
        return self._convolve(x), rest[:, :, None, None]

    def _convolve(self, x: Tensor) -> Tensor:
        if self.smooth is not None:
            x = F.conv_transpose2d(x, self.weight, stride=2)
            smoothed: Tensor = self.smooth(x)
            return smoothed
        if self.doubles:
            x = double_bilinear(x)
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)


class ConstantStyleConv(nn.Module):
    """A StyleConv in this form. sqrt 2 is folded into the factor, the noise and the bias.

    noise: the stored noise map of the layer, (1, 1, side, side), in its final strength
    """

    def __init__(self, layer: StyleConv, noise: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = ConstantConv(layer.modulated_conv, dtype)
        noise = noise * layer.weight
        if layer.activate is None:
            bias: Tensor = layer.bias
        else:  # leaky ReLU commutes with positive factors, so the sqrt 2 can be applied before it
            assert layer.activate.bias is not None
            bias = layer.activate.bias.view(1, -1, 1, 1) * SQRT2
            noise = noise * SQRT2
        self.register_buffer("noise", noise.detach().to(dtype))
        self.register_buffer("bias", bias.detach().to(dtype))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x, factor = self.conv(x, style)
        x = x * (factor * SQRT2).to(x.dtype) + self.noise + self.bias
        return F.leaky_relu(x, 0.2)


class ConstantToRGB(nn.Module):
    """A ToRGB in this form. The image is accumulated in FP32."""

    def __init__(self, layer: ToRGB, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = ConstantConv(layer.modulated_conv, dtype)
        self.register_buffer("bias", layer.bias.detach().clone())
        self.fir = layer.fir

    def forward(self, x: Tensor, style: Tensor, before: Tensor | None) -> Tensor:
        colors, factor = self.conv(x, style)
        picture: Tensor = colors.float() * factor + self.bias
        if before is None:
            return picture
        return picture + (double_fir(before) if self.fir else double_bilinear(before))

"""The StyleGAN2 decoder of GFP-GAN: features modulated by channel-split SFT at every resolution.

Karras et al., StyleGAN2, arXiv:1912.04958, section 2.2 (modulation and demodulation); Wang et al.,
GFP-GAN, arXiv:2101.04061, section 3.4 (channel-split spatial feature transform).

One decoder, three published layouts that differ in arithmetic and in the names of a few keys.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference.equalized import (
    LEAKY_SLOPE,
    SQRT2,
    EqualLinear,
    ScaledLeakyReLU,
    Smooth,
    double_bilinear,
    double_fir,
    scaled,
)

Condition = tuple[Tensor, Tensor]  # scale and shift maps of one resolution
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Layout:
    """equalized: weights are scaled at run time; fir: FIR filters instead of bilinear doubling."""

    equalized: bool
    fir: bool


CLEAN = Layout(equalized=False, fir=False)  # GFPGANv1Clean: versions 1.2, 1.3, 1.4
BILINEAR = Layout(equalized=True, fir=False)  # GFPGANBilinear
ORIGINAL = Layout(equalized=True, fir=True)  # GFPGANv1: the paper's


class ModulatedConv2d(nn.Module):
    """Convolution whose weights are scaled, for each sample, by a style per input channel.

    Demodulation divides by the norm of the scaled weights, so that outputs keep unit variance.
    The published form: one group of a grouped convolution for each sample.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        style_features: int,
        layout: Layout,
        *,
        demodulate: bool = True,
        doubles: bool = False,
    ) -> None:
        super().__init__()
        linear = EqualLinear if layout.equalized else nn.Linear
        self.modulation = linear(style_features, channels_in)
        nn.init.ones_(self.modulation.bias)
        weight = torch.randn(1, channels_out, channels_in, kernel, kernel)
        self.gain = 1.0
        if layout.equalized:
            self.gain = 1 / math.sqrt(channels_in * kernel**2)
        else:
            weight /= math.sqrt(channels_in * kernel**2)
        self.weight = nn.Parameter(weight)
        self.demodulate = demodulate
        self.doubles = doubles
        self.smooth = Smooth(1, gain=4) if doubles and layout.fir else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        factor = self.modulation(style).view(batch, 1, channels, 1, 1)
        weight = scaled(self.weight, self.gain) * factor
        if self.demodulate:
            norm = torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + _EPSILON)
            weight = weight * norm
        out_channels, kernel = weight.shape[1], weight.shape[-1]
        if self.smooth is not None:
            weight = weight.transpose(1, 2).flatten(0, 1)
            x = x.reshape(1, batch * channels, height, width)
            x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
            x = x.view(batch, out_channels, *x.shape[2:])
            smooth: Tensor = self.smooth(x)
            return smooth
        if self.doubles:
            x = double_bilinear(x)
        size = x.shape[2:]
        x = x.reshape(1, batch * channels, *size)
        x = F.conv2d(x, weight.flatten(0, 1), padding=kernel // 2, groups=batch)
        return x.view(batch, out_channels, *size)


class StyleConv(nn.Module):
    """Modulated convolution, noise of a learned strength, bias, leaky ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        style_features: int,
        layout: Layout,
        *,
        doubles: bool = False,
    ) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(
            channels_in, channels_out, 3, style_features, layout, doubles=doubles
        )
        self.weight = nn.Parameter(torch.zeros(1))  # of the noise
        self.activate = ScaledLeakyReLU(channels_out) if layout.equalized else None
        if self.activate is None:
            self.bias = nn.Parameter(torch.zeros(1, channels_out, 1, 1))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x = self.modulated_conv(x, style)
        if self.activate is not None:
            activated: Tensor = self.activate(x + self.weight * noise)
            return activated
        x = x * SQRT2 + self.weight * noise + self.bias
        return F.leaky_relu(x, LEAKY_SLOPE)


class ToRGB(nn.Module):
    """The colors that a resolution adds to the upsampled image of the previous one."""

    def __init__(self, channels: int, style_features: int, layout: Layout) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(
            channels, 3, 1, style_features, layout, demodulate=False
        )
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.fir = layout.fir

    def forward(self, x: Tensor, style: Tensor, before: Tensor | None = None) -> Tensor:
        colors: Tensor = self.modulated_conv(x, style) + self.bias
        if before is None:
            return colors
        return colors + (double_fir(before) if self.fir else double_bilinear(before))


class ConstantInput(nn.Module):
    def __init__(self, channels: int, side: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, side, side))


class NormStyleCode(nn.Module):
    """Divide by the root of the mean square over dimension 1: over the features of one code, and
    over the codes if there are several, (batch, codes, features), as the published code does."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPSILON)


def modulate_features(x: Tensor, condition: Condition) -> Tensor:
    """Channel-split SFT: the last channels, as many as the maps have, are scaled and shifted."""
    scale, shift = condition
    kept = x.shape[1] - scale.shape[1]
    same, changed = torch.split(x, [kept, scale.shape[1]], 1)
    return torch.cat((same, changed * scale + shift), 1)


class StyleGAN2Decoder(nn.Module):
    """Generate an image from style codes and conditions.

    styles: (batch, codes, style_features), codes = 2 * log2(side) - 2
    conditions: a scale and a shift map for each resolution from 8 on
    noise: factor of the stored noise maps; 1 is the original strength

    Returns (batch, 3, side, side), about -1..1 and not clipped.
    """

    def __init__(
        self,
        side: int,
        channels: dict[int, int],
        style_features: int,
        layout: Layout,
        *,
        mlp_layers: int,
    ) -> None:
        super().__init__()
        levels = int(math.log2(side)) - 2
        self.style_mlp = make_style_mlp(style_features, mlp_layers, layout)
        self.constant_input = ConstantInput(channels[4])
        self.style_conv1 = StyleConv(channels[4], channels[4], style_features, layout)
        self.to_rgb1 = ToRGB(channels[4], style_features, layout)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = nn.Module()
        before = channels[4]
        for level in range(levels):
            here = channels[8 << level]
            self.style_convs += [
                StyleConv(before, here, style_features, layout, doubles=True),
                StyleConv(here, here, style_features, layout),
            ]
            self.to_rgbs.append(ToRGB(here, style_features, layout))
            before = here
        for index in range(2 * levels + 1):
            resolution = 2 ** ((index + 5) // 2)
            noise = torch.randn(1, 1, resolution, resolution)
            self.noises.register_buffer(f"noise{index}", noise)

    def forward(self, styles: Tensor, conditions: list[Condition], noise: float = 1.0) -> Tensor:
        noises = [noise * value for value in self.noises.buffers()]
        x = self.constant_input.weight.expand(styles.shape[0], -1, -1, -1)
        x = self.style_conv1(x, styles[:, 0], noises[0])
        picture: Tensor = self.to_rgb1(x, styles[:, 1])
        for level, to_rgb in enumerate(self.to_rgbs):
            code = 2 * level + 1
            x = self.style_convs[2 * level](x, styles[:, code], noises[code])
            if level < len(conditions):
                x = modulate_features(x, conditions[level])
            x = self.style_convs[2 * level + 1](x, styles[:, code + 1], noises[code + 1])
            picture = to_rgb(x, styles[:, code + 2], picture)
        return picture


def make_style_mlp(features: int, layers: int, layout: Layout) -> nn.Sequential:
    """The mapping network, which published networks contain but do not use."""
    mlp: list[nn.Module] = [NormStyleCode()]
    for _ in range(layers):
        if layout.equalized:
            mlp.append(EqualLinear(features, features, rate=0.01, activated=True))
        else:
            mlp += [nn.Linear(features, features), nn.LeakyReLU(LEAKY_SLOPE)]
    return nn.Sequential(*mlp)

"""GFP-GAN: a U-Net removes the degradation, a StyleGAN2 decoder generates the face.

Wang et al., arXiv:2101.04061, figure 2: the U-Net's deepest features become style codes, its
features on the way up become scale and shift maps for the decoder's features.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference.equalized import (
    LEAKY_SLOPE,
    SQRT2,
    EqualConv2d,
    EqualLinear,
    HalveBilinear,
    ScaledLeakyReLU,
    Smooth,
    double_bilinear,
    halve_bilinear,
    scaled,
)
from restora_export.reference.stylegan2 import (
    BILINEAR,
    CLEAN,
    ORIGINAL,
    Condition,
    Layout,
    StyleGAN2Decoder,
)


def count_channels(multiplier: int, narrow: float) -> dict[int, int]:
    """Channels of the decoder at each resolution."""
    table = {4: 512, 8: 512, 16: 512, 32: 512}
    table |= {64 << k: (256 >> k) * multiplier for k in range(5)}
    return {side: int(channels * narrow) for side, channels in table.items()}


class CleanBlock(nn.Module):
    """Residual block of the U-Net that halves or doubles; `resample` does that."""

    def __init__(self, channels_in: int, channels_out: int, *, doubles: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.resample = double_bilinear if doubles else halve_bilinear

    def forward(self, x: Tensor) -> Tensor:
        main = self.resample(F.leaky_relu(self.conv1(x), LEAKY_SLOPE))
        main = F.leaky_relu(self.conv2(main), LEAKY_SLOPE)
        out: Tensor = main + self.skip(self.resample(x))
        return out


class EqualDoubling(nn.Module):
    """Bilinear doubling, convolution, and an activation if it is asked for."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, active: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.gain = 1 / math.sqrt(channels_in * kernel**2)
        self.activation = ScaledLeakyReLU(channels_out) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        weight = scaled(self.weight, self.gain)
        x = F.conv2d(double_bilinear(x), weight, padding=weight.shape[-1] // 2)
        activated: Tensor = self.activation(x)
        return activated


class EqualBlock(nn.Module):
    """The same with an equalized learning rate; the sum is divided by sqrt 2."""

    def __init__(self, channels_in: int, channels_out: int, *, doubles: bool, fir: bool) -> None:
        super().__init__()
        self.conv1 = equal_conv(channels_in, channels_in, 3)
        self.conv2: nn.Module
        self.skip: nn.Module
        if doubles:
            self.conv2 = EqualDoubling(channels_in, channels_out, 3, active=True)
            self.skip = EqualDoubling(channels_in, channels_out, 1, active=False)
            return
        stride = 2 if fir else 1
        self.conv2 = nn.Sequential(
            Smooth(2) if fir else HalveBilinear(),
            EqualConv2d(channels_in, channels_out, 3, stride=stride, bias=False),
            ScaledLeakyReLU(channels_out),
        )
        self.skip = nn.Sequential(
            Smooth(1) if fir else HalveBilinear(),
            EqualConv2d(channels_in, channels_out, 1, stride=stride, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.conv2(self.conv1(x)) + self.skip(x)) / SQRT2
        return out


def equal_conv(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    conv = EqualConv2d(channels_in, channels_out, kernel, bias=False)
    return nn.Sequential(conv, ScaledLeakyReLU(channels_out))


class GFPGAN(nn.Module):
    """Restore an aligned face.

    Input (batch, 3, side, side), RGB, -1..1; output the same, not clipped.

    side: 512 for all published networks
    channel_multiplier: 2 for versions 1.2 to 1.4, 1 for the paper's network
    is_latent: style codes go directly to the decoder, and otherwise through its mapping network
    different_w: each layer has its own style code, and otherwise all share one
    sft_half: conditions modulate half of the channels of the decoder, and otherwise all
    """

    layout: Layout

    def __init__(
        self,
        side: int = 512,
        style_features: int = 512,
        channel_multiplier: int = 2,
        mlp_layers: int = 8,
        *,
        is_latent: bool = True,
        different_w: bool = True,
        narrow: float = 1.0,
        sft_half: bool = True,
    ) -> None:
        super().__init__()
        self.side = side
        self.style_features = style_features
        self.is_latent = is_latent
        self.different_w = different_w
        levels = int(math.log2(side)) - 2
        self.codes = 2 * levels + 2
        width = count_channels(channel_multiplier, 0.5 * narrow)
        downs = [(width[side >> k], width[side >> (k + 1)]) for k in range(levels)]
        ups = [(width[max(4, 4 << k)], width[8 << k]) for k in range(levels)]
        self.conv_body_first = self._conv(3, width[side], 1)
        self.conv_body_down = nn.ModuleList(self._block(*pair, doubles=False) for pair in downs)
        self.final_conv = self._conv(width[4], width[4], 3)
        self.conv_body_up = nn.ModuleList(self._block(*pair, doubles=True) for pair in ups)
        tops = [after for _, after in ups]
        self.toRGB = nn.ModuleList(self._plain_conv(channels, 3, 1) for channels in tops)
        linear = EqualLinear if self.layout.equalized else nn.Linear
        features_out = style_features * (self.codes if different_w else 1)
        self.final_linear = linear(width[4] * 16, features_out)
        self.stylegan_decoder = StyleGAN2Decoder(
            side,
            count_channels(channel_multiplier, narrow),
            style_features,
            self.layout,
            mlp_layers=mlp_layers,
        )
        steered = 1 if sft_half else 2
        self.condition_scale = nn.ModuleList(self._condition(c, steered * c) for c in tops)
        self.condition_shift = nn.ModuleList(self._condition(c, steered * c) for c in tops)

    def forward(self, x: Tensor, noise: float = 1.0) -> Tensor:
        styles, conditions, _ = self.remove_degradation(x)
        restored: Tensor = self.stylegan_decoder(styles, conditions, noise)
        return restored

    def remove_degradation(self, x: Tensor) -> tuple[Tensor, list[Condition], list[Tensor]]:
        """Style codes, conditions (coarsest first), and the features that they come from."""
        deepest, skips = self.encode(x)
        features = self.decode(deepest, skips)
        return self.make_styles(deepest), self.make_conditions(features), features

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The deepest features and those on the way down, coarsest first."""
        feature = self._activate(self.conv_body_first(x))
        skips: list[Tensor] = []
        for down in self.conv_body_down:
            feature = down(feature)
            skips.insert(0, feature)
        return self._activate(self.final_conv(feature)), skips

    def decode(self, feature: Tensor, skips: list[Tensor]) -> list[Tensor]:
        """Features on the way up, coarsest first."""
        features: list[Tensor] = []
        for up, skip in zip(self.conv_body_up, skips, strict=True):
            feature = up(feature + skip)
            features.append(feature)
        return features

    def make_conditions(self, features: list[Tensor]) -> list[Condition]:
        triples = zip(self.condition_scale, self.condition_shift, features, strict=True)
        return [(scale(feature), shift(feature)) for scale, shift, feature in triples]

    def make_styles(self, deepest: Tensor) -> Tensor:
        """(batch, codes, style_features)"""
        code = self.final_linear(deepest.flatten(1))
        if self.different_w:
            code = code.view(code.shape[0], self.codes, self.style_features)
        if not self.is_latent:
            code = self.stylegan_decoder.style_mlp(code)
        if not self.different_w:
            code = code.unsqueeze(1).expand(-1, self.codes, -1)
        styles: Tensor = code
        return styles

    def intermediate_pictures(self, features: list[Tensor]) -> list[Tensor]:
        """The output of the U-Net alone, at each resolution."""
        return [to_rgb(feature) for to_rgb, feature in zip(self.toRGB, features, strict=True)]

    def _activate(self, x: Tensor) -> Tensor:
        """The activation after a plain convolution; equalized ones include it."""
        return x if self.layout.equalized else F.leaky_relu(x, LEAKY_SLOPE)

    def _conv(self, channels_in: int, channels_out: int, kernel: int) -> nn.Module:
        if self.layout.equalized:
            return equal_conv(channels_in, channels_out, kernel)
        return self._plain_conv(channels_in, channels_out, kernel)

    def _plain_conv(self, channels_in: int, channels_out: int, kernel: int) -> nn.Module:
        if self.layout.equalized:
            return EqualConv2d(channels_in, channels_out, kernel, bias=True)
        return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)

    def _condition(self, channels_in: int, channels_out: int) -> nn.Sequential:
        active = ScaledLeakyReLU() if self.layout.equalized else nn.LeakyReLU(LEAKY_SLOPE)
        first = self._plain_conv(channels_in, channels_in, 3)
        return nn.Sequential(first, active, self._plain_conv(channels_in, channels_out, 3))

    def _block(self, channels_in: int, channels_out: int, *, doubles: bool) -> nn.Module:
        if self.layout.equalized:
            return EqualBlock(channels_in, channels_out, doubles=doubles, fir=self.layout.fir)
        return CleanBlock(channels_in, channels_out, doubles=doubles)


class GFPGANv1Clean(GFPGAN):
    """Versions 1.2, 1.3 and 1.4: plain convolutions, bilinear resampling."""

    layout = CLEAN


class GFPGANBilinear(GFPGAN):
    """Equalized learning rates, bilinear resampling: what the clean layout is converted from."""

    layout = BILINEAR


class GFPGANv1(GFPGAN):
    """The paper's network: equalized learning rates, FIR resampling."""

    layout = ORIGINAL

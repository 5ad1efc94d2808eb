"""ParseNet: labels each pixel of an aligned face with one of 19 parts.

The face parser published with facexlib (parsing_parsenet.pth): reflection-padded convolutions,
residual blocks that halve to `smallest`, a residual body, blocks that double back.
"""

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Resample = Literal["none", "halve", "double"]


class ParseConv(nn.Module):
    """A 3x3 convolution with reflection padding and batch norm, optionally resampling by 2."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        resample: Resample = "none",
        normed: bool = False,
    ) -> None:
        super().__init__()
        stride = 2 if resample == "halve" else 1
        self.doubles = resample == "double"
        self.conv2d = nn.Conv2d(channels_in, channels_out, 3, stride, bias=not normed)
        norms = {"norm": nn.BatchNorm2d(channels_out)} if normed else {}
        self.norm = nn.ModuleDict(norms)

    def forward(self, x: Tensor) -> Tensor:
        if self.doubles:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        return self.norm["norm"](x) if self.norm else x


class ParseBlock(nn.Module):
    """Two convolutions with batch norm and a shortcut, without activation after the sum."""

    def __init__(self, channels_in: int, channels_out: int, resample: Resample = "none") -> None:
        super().__init__()
        changes = resample != "none" or channels_in != channels_out
        self.shortcut_func: nn.Module = (
            ParseConv(channels_in, channels_out, resample=resample) if changes else nn.Identity()
        )
        first: Resample = "double" if resample == "double" else "none"
        second: Resample = "halve" if resample == "halve" else "none"
        self.conv1 = ParseConv(channels_in, channels_out, resample=first, normed=True)
        self.conv2 = ParseConv(channels_out, channels_out, resample=second, normed=True)

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv2(F.leaky_relu(self.conv1(x), 0.2))
        out: Tensor = self.shortcut_func(x) + main
        return out


class ParseNet(nn.Module):
    """Label the parts of a face.

    Input (batch, 3, side, side), RGB, -1..1. Returns the scores of the labels, (batch, labels,
    side, side), and a reconstructed image, which is not used.
    """

    def __init__(
        self,
        side_in: int = 512,
        side_out: int = 512,
        smallest: int = 32,
        features: int = 64,
        labels: int = 19,
        depth: int = 10,
        channel_range: tuple[int, int] = (32, 256),
    ) -> None:
        super().__init__()
        low, high = channel_range
        self.side = side_in

        def clip(channels: int) -> int:
            return max(low, min(high, channels))

        smallest = min(side_in, smallest)
        halvings = int(math.log2(side_in // smallest))
        doublings = int(math.log2(side_out // smallest))
        encoder: list[nn.Module] = [ParseConv(3, features)]
        for _ in range(halvings):
            encoder.append(ParseBlock(clip(features), clip(features * 2), "halve"))
            features *= 2
        self.encoder = nn.Sequential(*encoder)
        self.body = nn.Sequential(
            *(ParseBlock(clip(features), clip(features)) for _ in range(depth))
        )
        decoder: list[nn.Module] = []
        for _ in range(doublings):
            decoder.append(ParseBlock(clip(features), clip(features // 2), "double"))
            features //= 2
        self.decoder = nn.Sequential(*decoder)
        self.out_img_conv = ParseConv(clip(features), 3)
        self.out_mask_conv = ParseConv(clip(features), labels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.encoder(x)
        feature = self.decoder(feature + self.body(feature))
        return self.out_mask_conv(feature), self.out_img_conv(feature)

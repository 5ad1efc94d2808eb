"""RRDBNet: the residual-in-residual dense network of ESRGAN and Real-ESRGAN.

Wang et al., ESRGAN, arXiv:1809.00219, section 3.1 and figure 4; the pixel-unshuffle in front of
the scales 1 and 2 is from Real-ESRGAN, arXiv:2107.10833, section 3.3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESIDUAL_SCALE = 0.2  # beta of the paper
LEAKY_SLOPE = 0.2


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


class ResidualDenseBlock(nn.Module):
    """Five convolutions; each sees the block's input and every earlier output."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(features, growth)
        self.conv2 = conv3x3(features + growth, growth)
        self.conv3 = conv3x3(features + 2 * growth, growth)
        self.conv4 = conv3x3(features + 3 * growth, growth)
        self.conv5 = conv3x3(features + 4 * growth, features)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.grow(x)

    def grow(self, x: Tensor) -> Tensor:
        """The residual of the block, before it is scaled."""
        x1 = leaky(self.conv1(x))
        x2 = leaky(self.conv2(torch.cat((x, x1), 1)))
        x3 = leaky(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = leaky(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5: Tensor = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5


class RRDB(nn.Module):
    """Residual in residual: three dense blocks inside one more residual connection."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(features, growth)
        self.rdb2 = ResidualDenseBlock(features, growth)
        self.rdb3 = ResidualDenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))
        return out


class RRDBNet(nn.Module):
    """Upscale an image `scale` times.

    Input (batch, in_channels, height, width), float in 0..1; output (batch, out_channels,
    scale * height, scale * width), not clipped. Height and width must be multiples of
    `size_multiple`.

    upsamples: number of upsampling steps by 2. A pixel-unshuffle at the input compensates a larger
        factor than `scale`: 2**upsamples = scale * size_multiple

    Published sizes: 64 features, growth 32, 23 blocks (6 for RealESRGAN_x4plus_anime_6B), always
    two upsamples, hence a multiple of 2 for scale 2 and of 4 for scale 1. Community networks of
    the original ESRGAN layout have as many upsamples as their scale needs and no unshuffle.
    """

    def __init__(
        self,
        scale: int = 4,
        features: int = 64,
        growth: int = 32,
        blocks: int = 23,
        in_channels: int = 3,
        out_channels: int = 3,
        upsamples: int = 2,
    ) -> None:
        super().__init__()
        if scale < 1 or 2**upsamples % scale:
            raise ValueError(
                f"the scale of an RRDBNet with {upsamples} upsamples must divide {2**upsamples}, "
                f"got {scale}"
            )
        self.scale = scale
        self.size_multiple = 2**upsamples // scale
        self.conv_first = conv3x3(in_channels * self.size_multiple**2, features)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = conv3x3(features, features)
        self.upsamples = upsamples
        for index in range(1, upsamples + 1):
            self.add_module(f"conv_up{index}", conv3x3(features, features))
        self.conv_hr = conv3x3(features, features)
        self.conv_last = conv3x3(features, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.restore_features(self.conv_first(F.pixel_unshuffle(x, self.size_multiple)))

    def restore_features(self, shallow: Tensor) -> Tensor:
        """All layers after the first convolution."""
        deep = shallow + self.conv_body(self.body(shallow))
        for index in range(1, self.upsamples + 1):
            conv_up = self.get_submodule(f"conv_up{index}")
            deep = leaky(conv_up(F.interpolate(deep, scale_factor=2, mode="nearest")))
        out: Tensor = self.conv_last(leaky(self.conv_hr(deep)))
        return out

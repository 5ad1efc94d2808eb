"""DamageDetector: finds scratches, dust, folds and other damage in a scanned print.

A U-Net (Ronneberger et al., arXiv:1505.04597) whose finest features have half the resolution of
the picture: its first convolution reads pixels in blocks of 2 x 2, its last one writes them so. A
branch that also reads the picture at a quarter of its resolution gives context, and features of a
sixteenth of it tell the lines of objects from scratches. Beside the colors
it sees what is brighter and what is darker than all that is wider than a scratch (top-hat
transforms: Meyer, 1979), which it would take long to learn.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTH = 16  # the coarsest features have a sixteenth of the resolution
DILATIONS = (1, 2, 4)
THIN_PX = 11  # what is narrower is thin
THIN_GAIN = 2.0  # differences are smaller than colors


class ConvUnit(nn.Module):
    """Convolution, batch normalization, and ReLU unless `linear`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2) if stride == 1 else (kernel - stride) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, dilation, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y if self.linear else F.relu(y)


class Block(nn.Module):
    """Two convolutions beside a direct connection. Untrained, it passes its input through (Goyal et
    al., arXiv:1706.02677, section 5.1), which must be at least 0."""

    def __init__(self, features: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvUnit(features, features, dilation=dilation)
        self.second = ConvUnit(features, features, linear=True)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class DamageDetector(nn.Module):
    """The probability of damage for each pixel.

    Input (batch, 3, height, width), RGB in 0..1, sides multiples of 16; output (batch, 1, height,
    width), logits.

    features: channels at a half, a quarter, an eighth and a sixteenth of the resolution
    """

    size_multiple = DEPTH

    def __init__(self, features: tuple[int, int, int, int] = (32, 48, 64, 96)) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = features
        self.features = features
        self.stem = ConvUnit(5, half, kernel=6, stride=2)
        self.half_in = Block(half)
        self.to_quarter = ConvUnit(half, quarter, kernel=4, stride=2)
        self.glance = ConvUnit(3, quarter)
        self.quarter_in = nn.Sequential(Block(quarter), Block(quarter))
        self.to_eighth = ConvUnit(quarter, eighth, kernel=4, stride=2)
        self.context = nn.Sequential(*(Block(eighth, dilation=d) for d in DILATIONS))
        self.to_sixteenth = ConvUnit(eighth, sixteenth, kernel=4, stride=2)
        self.scene = nn.Sequential(*(Block(sixteenth, dilation=d) for d in DILATIONS))
        self.from_sixteenth = ConvUnit(sixteenth, eighth, kernel=1, linear=True)
        self.eighth_out = Block(eighth)
        self.from_eighth = ConvUnit(eighth, quarter, kernel=1, linear=True)
        self.quarter_out = Block(quarter)
        self.from_quarter = ConvUnit(quarter, half, kernel=1, linear=True)
        self.half_out = nn.Sequential(Block(half), Block(half))
        self.mask_head = nn.Conv2d(half, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.find(x, thin_parts(x))

    def find(self, x: Tensor, thin: Tensor) -> Tensor:
        """Like forward, with thin_parts(x) computed before: training does so faster."""
        centered = x - 0.5
        half = self.half_in(self.stem(torch.cat((centered, thin), 1)))
        glance = self.glance(F.avg_pool2d(centered, 4))
        quarter = self.quarter_in(self.to_quarter(half) + glance)
        eighth = self.context(self.to_eighth(quarter))
        sixteenth = self.scene(self.to_sixteenth(eighth))
        eighth = self.eighth_out(F.relu(eighth + _double(self.from_sixteenth(sixteenth))))
        quarter = self.quarter_out(F.relu(quarter + _double(self.from_eighth(eighth))))
        half = self.half_out(F.relu(half + _double(self.from_quarter(quarter))))
        return F.pixel_shuffle(self.mask_head(half), 2)


def thin_parts(picture: Tensor) -> Tensor:
    """How much brighter and how much darker thin parts are than what is around them.

    picture: (batch, channels, height, width)

    Returns (batch, 2, height, width), at least 0.
    """
    level = picture.mean(1, keepdim=True)
    bright = level - _widen(-_widen(-level))
    dark = -_widen(-_widen(level)) - level
    return torch.cat((bright, dark), 1) * THIN_GAIN


def _widen(level: Tensor) -> Tensor:
    """The largest value in a square around each pixel."""
    rows = F.max_pool2d(level, (THIN_PX, 1), 1, (THIN_PX // 2, 0))
    return F.max_pool2d(rows, (1, THIN_PX), 1, (0, THIN_PX // 2))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")

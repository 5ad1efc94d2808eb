"""Repairer: fills the damaged pixels of a picture.

A smooth filling comes first (push-pull: Gortler et al., "The Lumigraph", SIGGRAPH 1996); gated
convolutions (Yu et al., arXiv:1806.03589) then add to it what the surroundings suggest, and what
shines through: stains, tape and many scratches are partly transparent. Their finest features have
half the resolution of the picture.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 5  # halvings of the smooth filling
DILATIONS = (1, 2, 4, 1)
_SLOPE = 0.2


class GatedConv(nn.Module):
    """A convolution whose results another one, of the same input, lets through or not."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1,
        dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        padding = dilation * (kernel // 2) if stride == 1 else (kernel - stride) // 2
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, kernel, stride, padding, dilation)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.conv(x).chunk(2, 1)
        return F.leaky_relu(values, _SLOPE) * torch.sigmoid(gates)


class Repairer(nn.Module):
    """Fill the pixels that a mask names.

    Input (batch, 5, height, width): RGB in 0..1; a mask that is 1 where pixels are damaged and 0
    elsewhere; and one that is 1 where, of these, the present color must not count. Sides are
    multiples of 32. Output (batch, 3, height, width), not clipped; only damaged pixels of it mean
    anything.

    features: channels at a half, a quarter and an eighth of the resolution
    """

    size_multiple = 1 << LEVELS

    def __init__(self, features: tuple[int, int, int] = (32, 48, 64)) -> None:
        super().__init__()
        half, quarter, eighth = features
        self.features = features
        self.stem = GatedConv(8, half, kernel=6, stride=2)
        self.half_in = GatedConv(half, half)
        self.to_quarter = GatedConv(half, quarter, kernel=4, stride=2)
        self.quarter_in = GatedConv(quarter, quarter)
        self.to_eighth = GatedConv(quarter, eighth, kernel=4, stride=2)
        self.context = nn.ModuleList(GatedConv(eighth, eighth, dilation=d) for d in DILATIONS)
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.quarter_out = GatedConv(quarter, quarter)
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.half_out = GatedConv(half, half)
        self.fill_head = nn.Conv2d(half, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        color, damaged, hidden = x.split((3, 1, 1), 1)
        smooth = fill_smoothly(color, 1 - damaged)
        seen = damaged - hidden
        detail = (color - smooth) * seen
        half = self.stem(torch.cat((smooth - 0.5, damaged, seen, detail), 1))
        half = half + self.half_in(half)
        quarter = self.to_quarter(half)
        quarter = quarter + self.quarter_in(quarter)
        eighth = self.to_eighth(quarter)
        for block in self.context:
            eighth = eighth + block(eighth)
        quarter = quarter + _double(self.from_eighth(eighth))
        quarter = quarter + self.quarter_out(quarter)
        half = half + _double(self.from_quarter(quarter))
        half = half + self.half_out(half)
        added, kept = F.pixel_shuffle(self.fill_head(half), 2).split((3, 1), 1)
        filled: Tensor = smooth + added + kept * detail
        return filled


def fill_smoothly(picture: Tensor, known: Tensor) -> Tensor:
    """Replace unknown pixels by a smooth surface through the known ones around them.

    picture: (batch, channels, height, width), sides multiples of 32
    known: (batch, 1, height, width), 0 or 1
    """
    levels = [(picture * known, known)]
    for _ in range(LEVELS):
        sums, shares = (F.avg_pool2d(plane, 2) for plane in levels[-1])
        # a coarse pixel is known as soon as one of its four is
        levels.append((sums / shares.clamp(min=0.25), (shares * 4).clamp(max=1)))
    sums, shares = levels[-1]
    mean = sums.mean((2, 3), keepdim=True) / shares.mean((2, 3), keepdim=True).clamp(min=1e-3)
    filled = sums + (1 - shares) * mean
    for values, known_there in reversed(levels[:-1]):
        finer = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
        filled = values + (1 - known_there) * finer
    return filled


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")

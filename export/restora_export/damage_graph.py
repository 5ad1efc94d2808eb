"""The exported forms of the networks that find and repair damage: uint8 in, uint8 out."""

import copy

import torch
from torch import Tensor, nn

from restora.artifact import Precision
from restora_export.reference import DamageDetector, Repairer

_HIDDEN_OFFSET = 0.25  # less than the value of a mask, rounded: 1 from 192 levels on


class DamageDetectorGraph(nn.Module):
    """DamageDetector on NHWC RGB uint8 images.

    Returns the probability of damage, (batch, height, width, 1), uint8 in 0..255. The second
    output holds the means of the logits, (batch, 1).
    """

    def __init__(self, network: DamageDetector, precision: Precision) -> None:
        super().__init__()
        self.dtype = _dtype_of(precision)
        self.network = copy.deepcopy(network).eval().requires_grad_(False).to(self.dtype)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.to(torch.float32).permute(0, 3, 1, 2) * (1 / 255)
        logits = self.network(x.to(self.dtype)).float()
        levels = (torch.sigmoid(logits) * 255 + 0.5).clamp(0, 255)
        return levels.permute(0, 2, 3, 1).to(torch.uint8), logits.mean((2, 3))


class RepairerGraph(nn.Module):
    """Repairer on NHWC uint8 images of four channels: RGB and a mask.

    Returns RGB uint8 images: the filling where the mask is 128 or more, and everywhere else the
    input, bit for bit, whatever the network returns there. Where the mask is 192 or more, the color
    below it does not count. The second output holds the means of the filling, (batch, 3).
    """

    def __init__(self, network: Repairer, precision: Precision) -> None:
        super().__init__()
        self.dtype = _dtype_of(precision)
        self.network = copy.deepcopy(network).eval().requires_grad_(False).to(self.dtype)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        planes = image.to(torch.float32).permute(0, 3, 1, 2)
        color, mask = planes.split((3, 1), 1)
        unit = mask * (1 / 255)
        damaged = unit.round()
        given = torch.cat((color * (1 / 255), damaged, (unit - _HIDDEN_OFFSET).round()), 1)
        filled = self.network(given.to(self.dtype)).float()
        # also in arithmetic of 16 bits the color passes unchanged: it holds all of 0..255
        levels = torch.where(damaged > 0.5, (filled * 255 + 0.5).clamp(0, 255), color)
        return levels.permute(0, 2, 3, 1).to(torch.uint8), filled.mean((2, 3))


def _dtype_of(precision: Precision) -> torch.dtype:
    return torch.float16 if precision == "fp16" else torch.float32

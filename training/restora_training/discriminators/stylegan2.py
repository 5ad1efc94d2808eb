"""The discriminator of StyleGAN2, which GFP-GAN uses for whole faces.

Karras et al., StyleGAN2, arXiv:1912.04958; the standard deviation channel: arXiv:1710.10196,
section 3.
"""

import math

import torch
from torch import Tensor, nn

from restora_export.reference.equalized import EqualLinear
from restora_export.reference.gfpgan import EqualBlock, count_channels, equal_conv

GROUP = 4  # samples that one standard deviation is computed over
_EPSILON = 1e-8


class StyleGAN2Discriminator(nn.Module):
    """Judge whole images.

    Input (batch, 3, side, side), RGB, -1..1; output (batch, 1): logits, high for real images.

    side: a power of two from 8; 512 for GFP-GAN
    channel_multiplier: scales the channels of resolutions above 32
    group: largest number of samples that one standard deviation is computed over; a larger batch
        must be a multiple of it
    narrow: scales all channels
    """

    def __init__(
        self,
        side: int = 512,
        channel_multiplier: int = 2,
        *,
        group: int = GROUP,
        narrow: float = 1.0,
    ) -> None:
        super().__init__()
        channels = count_channels(channel_multiplier, narrow)
        levels = int(math.log2(side)) - 2
        self.group = group
        self.conv_body = nn.Sequential(
            equal_conv(3, channels[side], 1),
            *(
                EqualBlock(channels[side >> k], channels[side >> (k + 1)], doubles=False, fir=True)
                for k in range(levels)
            ),
        )
        self.final_conv = equal_conv(channels[4] + 1, channels[4], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(channels[4] * 16, channels[4], activated=True),
            EqualLinear(channels[4], 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        features = append_deviation(self.conv_body(x), self.group)
        logits: Tensor = self.final_linear(self.final_conv(features).flatten(1))
        return logits


def append_deviation(features: Tensor, group: int) -> Tensor:
    """Append a channel with the mean standard deviation of the features within a group of samples.

    features: (batch, channels, height, width)
    group: samples i, i + batch / group, i + 2 * batch / group, ... form a group; a smaller batch is
        one group

    Raises ValueError if the batch is larger than a group and no multiple of it.
    """
    batch, channels, height, width = features.shape
    size = min(batch, group)
    if batch % size:
        raise ValueError(
            f"a batch above {group} must be a multiple of {group}, got {batch}: change the batch"
        )
    grouped = features.view(size, batch // size, channels, height, width)
    variance = grouped.var(0, unbiased=False)
    deviation = torch.sqrt(variance + _EPSILON).mean((1, 2, 3), keepdim=True)
    channel = deviation.repeat(size, 1, height, width)
    return torch.cat((features, channel), 1)

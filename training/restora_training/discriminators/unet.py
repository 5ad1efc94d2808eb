"""The discriminator of Real-ESRGAN: a U-Net with spectral normalization, one logit per pixel.

Wang et al., Real-ESRGAN, arXiv:2107.10833, section 3.3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# the parametrization in torch.nn.utils.parametrizations has other keys than the published files
from torch.nn.utils import spectral_norm

LEAKY_SLOPE = 0.2
SIZE_MULTIPLE = 8  # three halvings


class UNetDiscriminatorSN(nn.Module):
    """Judge every pixel of an image.

    Input (batch, channels, height, width), height and width multiples of 8; output
    (batch, 1, height, width): logits, high where the image looks real.

    width: channels after the first convolution; 64 for the published networks
    skips: add the features on the way down to those on the way up

    In train mode every forward call runs one power iteration of the spectral normalization, also
    when the parameters are frozen.
    """

    def __init__(self, channels: int = 3, width: int = 64, *, skips: bool = True) -> None:
        super().__init__()
        self.skips = skips
        self.conv0 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv1 = _halving(width, 2 * width)
        self.conv2 = _halving(2 * width, 4 * width)
        self.conv3 = _halving(4 * width, 8 * width)
        self.conv4 = _normalized(8 * width, 4 * width)
        self.conv5 = _normalized(4 * width, 2 * width)
        self.conv6 = _normalized(2 * width, width)
        self.conv7 = _normalized(width, width)
        self.conv8 = _normalized(width, width)
        self.conv9 = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = _activate(self.conv0(x))
        half = _activate(self.conv1(first))
        quarter = _activate(self.conv2(half))
        up = _activate(self.conv3(quarter))
        for conv, skip in ((self.conv4, quarter), (self.conv5, half), (self.conv6, first)):
            up = F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False)
            up = _activate(conv(up))
            if self.skips:
                up = up + skip
        up = _activate(self.conv8(_activate(self.conv7(up))))
        logits: Tensor = self.conv9(up)
        return logits


def _normalized(channels_in: int, channels_out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False))


def _halving(channels_in: int, channels_out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels_out, 4, 2, 1, bias=False))


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


def spectral_norms(network: nn.Module) -> Tensor:
    """The estimated largest singular values in use, in the order of the layers."""
    with torch.no_grad():
        return torch.stack(
            [
                torch.dot(m.weight_u, m.weight_orig.flatten(1).mv(m.weight_v))  # type: ignore[arg-type,operator]
                for m in network.modules()
                if hasattr(m, "weight_orig")
            ]
        )

"""The form in which a network is exported: pictures in, pictures out, everything else inside."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora.artifact import Io
from restora_export.reference import RRDBNet


class FoldedRRDBNet(nn.Module):
    """RRDBNet whose pixel-unshuffle and first convolution are one strided convolution.

    The same function (an unshuffled pixel is a strided one), without the reshapes whose dynamic
    channel count older TensorRT versions cannot read. Kernel 3r, stride r, padding r.
    """

    def __init__(self, network: RRDBNet) -> None:
        super().__init__()
        self.network = network
        factor = network.size_multiple
        first = network.conv_first
        folded = nn.Conv2d(
            first.in_channels // factor**2,
            first.out_channels,
            kernel_size=3 * factor,
            stride=factor,
            padding=factor,
        )
        with torch.no_grad():
            folded.weight.copy_(fold_unshuffle(first.weight, factor))
            assert folded.bias is not None
            assert first.bias is not None
            folded.bias.copy_(first.bias)
        self.conv_first = folded

    def forward(self, x: Tensor) -> Tensor:
        return self.network.restore_features(self.conv_first(x))


def fold_unshuffle(weight: Tensor, factor: int) -> Tensor:
    """Turn a 3x3 kernel behind a pixel-unshuffle into the kernel on the picture itself.

    weight  (out, in * factor**2, 3, 3); channels in the order of torch.pixel_unshuffle

    Returns (out, in, 3 * factor, 3 * factor).
    """
    return (
        F.pixel_shuffle(
            weight.flatten(2).transpose(1, 2).reshape(-1, weight.shape[1], 1, 1), factor
        )
        .reshape(weight.shape[0], 3, 3, -1, factor, factor)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(weight.shape[0], -1, 3 * factor, 3 * factor)
    )


class PictureGraph(nn.Module):
    """A network from picture to picture: NHWC RGB, uint8 in 0..255 or float32 in 0..1.

    Conversion, clipping and rounding belong to the graph. The second output, (batch, 3), holds
    the mean of each channel before clipping: it is NaN or Inf if any value was.
    """

    def __init__(self, network: nn.Module, io: Io) -> None:
        super().__init__()
        self.network = FoldedRRDBNet(network) if isinstance(network, RRDBNet) else network
        self.io = io

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        if self.io == "uint8":
            x = x * (1 / 255)
        y = self.network(x)
        means = y.mean((2, 3))
        if self.io == "uint8":
            return (y * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8), means
        return y.clamp(0, 1).permute(0, 2, 3, 1), means

"""SRVGGNetCompact: the plain VGG-style network of Real-ESRGAN's small models.

Published with Real-ESRGAN (realesr-animevideov3, realesr-general-x4v3): all work happens at the
resolution of the input, followed by one pixel shuffle; the upscaled input is added to the result.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["prelu", "relu", "leakyrelu"]


def make_activation(kind: Activation, features: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(features)
    if kind == "relu":
        return nn.ReLU()
    if kind == "leakyrelu":
        return nn.LeakyReLU(0.1)
    raise ValueError(f"activation must be prelu, relu or leakyrelu, got {kind!r}")


class SRVGGNetCompact(nn.Module):
    """Upscale an image `scale` times.

    Input (batch, in_channels, height, width), float in 0..1, any size; output (batch,
    out_channels, scale * height, scale * width), not clipped. Activations count in `body`, so
    convolution i has index 2i. Published sizes: 64 features, 16 or 32 convolutions, PReLU.
    """

    size_multiple = 1

    def __init__(
        self,
        scale: int = 4,
        features: int = 64,
        convs: int = 16,
        activation: Activation = "prelu",
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(convs + 1):
            layers += [nn.Conv2d(channels, features, 3, padding=1)]
            layers += [make_activation(activation, features)]
            channels = features
        layers += [nn.Conv2d(features, out_channels * scale**2, 3, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.body(x), self.scale)
        return detail + F.interpolate(x, scale_factor=self.scale, mode="nearest")

"""The discriminator of GFP-GAN for one facial component, such as the left eye.

Wang et al., GFP-GAN, arXiv:2101.04061, section 3.4 (facial component loss).
"""

from torch import Tensor, nn

from restora_export.reference.equalized import EqualConv2d, ScaledLeakyReLU, Smooth
from restora_export.reference.gfpgan import equal_conv


class FacialComponentDiscriminator(nn.Module):
    """Judge crops of one component.

    Input (batch, 3, height, width), RGB, -1..1, sides multiples of 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = equal_conv(3, 64, 3)
        self.conv2 = _halving_conv(64, 128)
        self.conv3 = equal_conv(128, 128, 3)
        self.conv4 = _halving_conv(128, 256)
        self.conv5 = equal_conv(256, 256, 3)
        self.final_conv = nn.Sequential(EqualConv2d(256, 1, 3, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, height / 4, width / 4), high where the crop looks real."""
        return self.judge(x)[0]

    def judge(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits, and the features for the style loss: after the third convolution,
        (batch, 128, height / 2, width / 2), and the fifth, (batch, 256, height / 4, width / 4)."""
        fine = self.conv3(self.conv2(self.conv1(x)))
        coarse = self.conv5(self.conv4(fine))
        return self.final_conv(coarse), [fine, coarse]


def _halving_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        Smooth(2),
        EqualConv2d(channels_in, channels_out, 3, stride=2, bias=False),
        ScaledLeakyReLU(channels_out),
    )

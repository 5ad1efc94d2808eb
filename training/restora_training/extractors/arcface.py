"""The face recognition network of GFP-GAN's identity loss: ArcFace with a small ResNet.

Deng et al., ArcFace, arXiv:1801.07698, section 3.2 (improved residual blocks).
"""

from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 128
FEATURES = 512


class ImprovedBlock(nn.Module):
    """Residual block with a batch normalization before the first convolution."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        main = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        out: Tensor = self.prelu(self.bn2(self.conv2(main)) + self.downsample(x))
        return out


class ResNetArcFace(nn.Module):
    """Embed faces.

    Input (batch, 1, 128, 128), gray, -1..1; output (batch, 512), not normalized.
    """

    def __init__(self, blocks: tuple[int, int, int, int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.layer1 = _make_layer(64, 64, blocks[0], 1)
        self.layer2 = _make_layer(64, 128, blocks[1], 2)
        self.layer3 = _make_layer(128, 256, blocks[2], 2)
        self.layer4 = _make_layer(256, 512, blocks[3], 2)
        self.bn4 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout()
        self.fc5 = nn.Linear(512 * (SIDE // 16) ** 2, FEATURES)
        self.bn5 = nn.BatchNorm1d(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.prelu(self.bn1(self.conv1(x))), 2)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        embedding: Tensor = self.bn5(self.fc5(self.dropout(self.bn4(x)).flatten(1)))
        return embedding


def _make_layer(channels_in: int, channels_out: int, count: int, stride: int) -> nn.Sequential:
    first = ImprovedBlock(channels_in, channels_out, stride)
    others = (ImprovedBlock(channels_out, channels_out, 1) for _ in range(count - 1))
    return nn.Sequential(first, *others)

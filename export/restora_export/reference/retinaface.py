"""RetinaFace with a ResNet-50 trunk: detects faces and their five landmarks.

Deng et al., arXiv:1905.00641; the layout of detection_Resnet50_Final.pth. ResNet-50: He et al.,
arXiv:1512.03385, with the stride on the 3x3 convolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ANCHORS_PER_CELL = 2
_TRUNK = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride
_FEATURES = 256


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with batch norm beside a shortcut."""

    def __init__(self, channels_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        channels_out = 4 * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        main = F.relu(self.bn1(self.conv1(x)))
        main = F.relu(self.bn2(self.conv2(main)))
        main = self.bn3(self.conv3(main))
        return F.relu(main + (x if self.downsample is None else self.downsample(x)))


class ResNet50Trunk(nn.Module):
    """Features at strides 8, 16 and 32: 512, 1024 and 2048 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for index, (width, blocks, stride) in enumerate(_TRUNK, start=1):
            layer = [Bottleneck(channels, width, stride=stride)]
            layer += [Bottleneck(4 * width, width, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{index}", nn.Sequential(*layer))
            channels = 4 * width

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        taps = []
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
            taps.append(x)
        return taps[1:]


class NormedConv(nn.Sequential):
    """Convolution without bias, batch norm, and ReLU if `active`."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, active: bool) -> None:
        conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
        layers: list[nn.Module] = [conv, nn.BatchNorm2d(channels_out)]
        super().__init__(*layers, *([nn.ReLU()] if active else []))


class FeaturePyramid(nn.Module):
    """Three levels of 256 channels; the coarser one is added to the next finer."""

    def __init__(self) -> None:
        super().__init__()
        self.output1 = NormedConv(512, _FEATURES, 1, active=True)
        self.output2 = NormedConv(1024, _FEATURES, 1, active=True)
        self.output3 = NormedConv(2048, _FEATURES, 1, active=True)
        self.merge1 = NormedConv(_FEATURES, _FEATURES, 3, active=True)
        self.merge2 = NormedConv(_FEATURES, _FEATURES, 3, active=True)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = self.output1(taps[0]), self.output2(taps[1]), self.output3(taps[2])
        middle = self.merge2(middle + enlarge_to(coarse, middle))
        fine = self.merge1(fine + enlarge_to(middle, fine))
        return [fine, middle, coarse]


def enlarge_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


class ContextModule(nn.Module):
    """SSH: receptive fields of 3, 5 and 7 side by side (arXiv:1708.03979)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3X3 = NormedConv(_FEATURES, _FEATURES // 2, 3, active=False)
        self.conv5X5_1 = NormedConv(_FEATURES, _FEATURES // 4, 3, active=True)
        self.conv5X5_2 = NormedConv(_FEATURES // 4, _FEATURES // 4, 3, active=False)
        self.conv7X7_2 = NormedConv(_FEATURES // 4, _FEATURES // 4, 3, active=True)
        self.conv7x7_3 = NormedConv(_FEATURES // 4, _FEATURES // 4, 3, active=False)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        wide = self.conv7x7_3(self.conv7X7_2(shared))
        return F.relu(torch.cat((self.conv3X3(x), self.conv5X5_2(shared), wide), 1))


class AnchorHead(nn.Module):
    """`values` for each anchor: (batch, cells * 2, values)."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(_FEATURES, ANCHORS_PER_CELL * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.conv1x1(x).permute(0, 2, 3, 1)
        return rows.reshape(rows.shape[0], -1, self.values)


class RetinaFace(nn.Module):
    """Compute scores and offsets for every anchor of an image.

    Input (batch, 3, height, width), BGR 0..255 less the means (104, 117, 123), any size. Returns
    box offsets (batch, anchors, 4), class probabilities (batch, anchors, 2; the second is "face")
    and landmark offsets (batch, anchors, 10), levels from fine to coarse, rows of a level first.
    """

    size_multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet50Trunk()
        self.fpn = FeaturePyramid()
        self.ssh1, self.ssh2, self.ssh3 = ContextModule(), ContextModule(), ContextModule()
        self.ClassHead = nn.ModuleList(AnchorHead(2) for _ in range(3))
        self.BboxHead = nn.ModuleList(AnchorHead(4) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(AnchorHead(10) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.fpn(self.body(x))
        contexts = [
            ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)
        ]

        def gather(heads: nn.ModuleList) -> Tensor:
            return torch.cat([head(x) for head, x in zip(heads, contexts, strict=True)], 1)

        scores = gather(self.ClassHead).softmax(-1)
        return gather(self.BboxHead), scores, gather(self.LandmarkHead)

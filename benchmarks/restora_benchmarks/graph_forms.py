"""Other forms of the parts of an RRDBNet, each the same function as the published one.

Which of them an artefact has is decided by restora_benchmarks.choices, which measures them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference import RRDBNet
from restora_export.reference.rrdb import RESIDUAL_SCALE, RRDB, ResidualDenseBlock, leaky
from restora_export.rrdb_graph import FoldedRRDBNet, fold_unshuffle

Form = Callable[[], nn.Module]


class Shallow(nn.Module):
    """Pixel-unshuffle and first convolution, as published or as one strided convolution."""

    def __init__(self, first: nn.Conv2d, factor: int, *, folded: bool) -> None:
        super().__init__()
        self.factor = 1 if folded else factor
        self.conv = first
        if folded:
            self.conv = nn.Conv2d(
                first.in_channels // factor**2, first.out_channels, 3 * factor, factor, factor
            )
            self.conv.weight.data = fold_unshuffle(first.weight.data, factor)
            self.conv.bias = first.bias

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.conv(F.pixel_unshuffle(x, self.factor)))


class Doubled(nn.Module):
    """Nearest x2, 3x3 convolution and activation, as published."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.conv(F.interpolate(x, scale_factor=2, mode="nearest")))


class Transposed(nn.Module):
    """The same as one transposed convolution, 4x4, stride 2: 4/9 of the products."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, 2, 1)
        turned = conv.weight.data.flip(2, 3).transpose(0, 1)
        weight = torch.zeros_like(self.conv.weight.data)
        for row in (0, 1):
            for col in (0, 1):
                weight[:, :, row : row + 3, col : col + 3] += turned
        self.conv.weight.data, self.conv.bias = weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.conv(x))


class Phases(nn.Module):
    """The same as four 2x2 convolutions, one for each pixel of a 2x2 cell, interleaved."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for row in (0, 1):
            for col in (0, 1):
                phase = nn.Conv2d(conv.in_channels, conv.out_channels, 2)
                rows = _join_taps(conv.weight.data, row)
                phase.weight.data = _join_taps(rows.transpose(2, 3), col).transpose(2, 3)
                phase.bias = conv.bias
                self.convs.append(phase)

    def forward(self, x: Tensor) -> Tensor:
        phases = []
        for index, conv in enumerate(self.convs):
            row, col = divmod(index, 2)
            phases.append(conv(F.pad(x, (1 - col, col, 1 - row, row))))
        return leaky(F.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2))


class Summed(nn.Module):
    """A dense block whose convolutions over a concat are sums of convolutions over its parts."""

    def __init__(self, block: ResidualDenseBlock) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for index in range(1, 6):
            conv = block.get_submodule(f"conv{index}")
            assert isinstance(conv, nn.Conv2d)
            sizes = [block.conv1.in_channels, *[block.conv1.out_channels] * (index - 1)]
            parts = nn.ModuleList()
            for number, weight in enumerate(torch.split(conv.weight.data, sizes, 1)):
                part = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=number == 0)
                part.weight.data = weight.clone()
                if number == 0:
                    part.bias = conv.bias
                parts.append(part)
            self.steps.append(parts)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for parts in self.steps:
            assert isinstance(parts, nn.ModuleList)
            total: Tensor = parts[0](seen[0])
            for part, value in zip(parts[1:], seen[1:], strict=True):
                total = total + part(value)
            seen.append(leaky(total))
        # the last convolution has no activation
        result: Tensor = x + RESIDUAL_SCALE * total
        return result


def forms_of_first(features: int) -> dict[str, Form]:
    first = nn.Conv2d(12, features, 3, padding=1)
    return {
        "unshuffle + 3x3": lambda: Shallow(first, 2, folded=False),
        "6x6, stride 2": lambda: Shallow(first, 2, folded=True),
    }


def forms_of_upsampling(features: int) -> dict[str, Form]:
    conv = nn.Conv2d(features, features, 3, padding=1)
    return {
        "nearest x2 + 3x3": lambda: Doubled(conv),
        "transposed 4x4": lambda: Transposed(conv),
        "four 2x2, interleaved": lambda: Phases(conv),
    }


def forms_of_residuals(features: int) -> dict[str, Form]:
    """The trunk of a network of one block: published products, and the folded form."""
    network = RRDBNet(4, features, features // 2, 1)
    folded = FoldedRRDBNet(network).network.body
    return {"products by 0.2": lambda: network.body, "folded": lambda: folded}


def forms_of_concats(features: int) -> dict[str, Form]:
    block = RRDB(features, features // 2)
    parts = nn.Sequential(*(Summed(dense) for dense in (block.rdb1, block.rdb2, block.rdb3)))
    plain = nn.Sequential(block.rdb1, block.rdb2, block.rdb3)
    return {"concats": lambda: plain, "sums of convolutions": lambda: parts}


def _join_taps(weight: Tensor, phase: int) -> Tensor:
    """(o, i, 3, k) to (o, i, 2, k): two of the three rows meet on the same pixel before x2."""
    first, second, third = weight.unbind(2)
    rows = (first, second + third) if phase == 0 else (first + second, third)
    return torch.stack(rows, 2)

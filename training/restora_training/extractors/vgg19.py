"""Features of VGG19 before the activations, for the perceptual loss.

Simonyan and Zisserman, arXiv:1409.1556, configuration E; keys as in torchvision's
vgg19-dcbb9e9d.pth.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # (channels, convolutions)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB values in 0..1


def layer_indices() -> dict[str, int]:
    """Index in `features` of each convolution: {"conv1_1": 0, "conv1_2": 2, ...}."""
    indices: dict[str, int] = {}
    index = 0
    for block, (_, count) in enumerate(_BLOCKS, 1):
        for number in range(1, count + 1):
            indices[f"conv{block}_{number}"] = index
            index += 2  # a ReLU follows each convolution
        index += 1  # and a pooling each block
    return indices


class VGG19Features(nn.Module):
    """The outputs of some convolutions, before their ReLU.

    layers: names such as "conv5_4"
    range_norm: the input is -1..1, and otherwise 0..1
    input_norm: subtract ImageNet's mean and divide by its standard deviation

    Input (batch, 3, height, width), RGB. The weights are frozen.
    """

    def __init__(
        self, layers: Sequence[str], *, range_norm: bool = False, input_norm: bool = True
    ) -> None:
        super().__init__()
        indices = layer_indices()
        unknown = sorted(set(layers) - set(indices))
        if unknown or not layers:
            raise ValueError(
                f"layers must be some of {', '.join(indices)}, got {', '.join(unknown) or 'none'}"
            )
        self.names = {indices[name]: name for name in layers}
        self.range_norm, self.input_norm = range_norm, input_norm
        self.features = _make_features(last=max(self.names))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.range_norm:
            x = (x + 1) / 2
        if self.input_norm:
            x = (x - self.mean) / self.std  # type: ignore[operator]
        found: dict[str, Tensor] = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.names:
                found[self.names[index]] = x
        return found


class _Relu(nn.Module):
    """Not in place: the features before it are results."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


def _make_features(*, last: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for channels, count in _BLOCKS:
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), _Relu()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[: last + 1])

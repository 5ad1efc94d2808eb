"""Losses between features: perceptual, and style through Gram matrices.

Johnson et al., arXiv:1603.08155; features before the activation: ESRGAN, arXiv:1809.00219.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from restora_training.extractors import VGG19Features
from restora_training.losses.pixel import l1_loss

LAYER_WEIGHTS: Mapping[str, float] = {
    "conv1_2": 0.1,
    "conv2_2": 0.1,
    "conv3_4": 1.0,
    "conv4_4": 1.0,
    "conv5_4": 1.0,
}
_COMPONENT_WEIGHTS = (0.5, 1.0)  # of the features after the third and the fifth convolution


class PerceptualLoss(nn.Module):
    """L1 between the VGG19 features of two images, and between their Gram matrices.

    layer_weights: weight of each layer; the default is that of GFP-GAN and Real-ESRGAN
    range_norm: images are -1..1, and otherwise 0..1

    Load weights into `extractor` before use. No gradient reaches them or the target.
    """

    def __init__(
        self, layer_weights: Mapping[str, float] = LAYER_WEIGHTS, *, range_norm: bool
    ) -> None:
        super().__init__()
        self.layer_weights = dict(layer_weights)
        self.extractor: nn.Module = VGG19Features(list(layer_weights), range_norm=range_norm)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The perceptual loss of two batches (batch, 3, height, width), RGB."""
        return self.compare(prediction, target, style=False)[0]

    def compare(
        self, prediction: Tensor, target: Tensor, *, style: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The perceptual loss, and the style loss if it is asked for."""
        got = self.extractor(prediction)
        with torch.no_grad():
            wanted = self.extractor(target)
        weights = self.layer_weights.items()
        perceptual = _sum(weight * l1_loss(got[name], wanted[name]) for name, weight in weights)
        if not style:
            return perceptual, None
        grams = (
            weight * l1_loss(gram_matrix(got[name]), gram_matrix(wanted[name]))
            for name, weight in weights
        )
        return perceptual, _sum(grams)


def gram_matrix(features: Tensor) -> Tensor:
    """F F^T / (channels * height * width), (batch, channels, channels)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def component_style_loss(prediction: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """L1 between Gram matrices of a component discriminator's features, of one component.

    prediction, target: what FacialComponentDiscriminator.judge returns; no gradient reaches the
        target
    """
    return _sum(
        weight * l1_loss(gram_matrix(got), gram_matrix(wanted.detach()))
        for weight, got, wanted in zip(_COMPONENT_WEIGHTS, prediction, target, strict=True)
    )


def _sum(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum()

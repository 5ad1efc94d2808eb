"""A plain training loop: eager PyTorch in FP32, as the published training code computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_training.discriminators import UNetDiscriminatorSN
from restora_training.extractors import VGG19Features
from restora_training.losses import LAYER_WEIGHTS


class PlainLoop:
    """Trains a generator on one batch.

    network: as in a recipe, of scale 4
    degraded, clean: (batch, 3, height, width), 0..1
    all_losses: the perceptual and the adversarial loss, besides L1
    """

    def __init__(
        self, network: dict[str, Any], degraded: Tensor, clean: Tensor, *, all_losses: bool
    ) -> None:
        self.degraded, self.clean, self.all_losses = degraded, clean, all_losses
        self.generator = _build(network)
        self.discriminator = UNetDiscriminatorSN()
        self.vgg = VGG19Features(list(LAYER_WEIGHTS))
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99))
            for net in (self.generator, self.discriminator)
        ]
        self.average = {
            key: value.detach().clone() for key, value in self.generator.named_parameters()
        }

    def step(self) -> None:
        """Run one iteration."""
        self.discriminator.requires_grad_(False)
        self.optimizers[0].zero_grad()
        output = self.generator(self.degraded)
        loss = (output - self.clean).abs().mean()
        if self.all_losses:
            loss = loss + self._feature_loss(output) + 0.1 * self._judge(output, 1)
        loss.backward()
        self.optimizers[0].step()
        if self.all_losses:
            self.discriminator.requires_grad_(True)
            self.optimizers[1].zero_grad()
            self._judge(self.clean, 1).backward()
            self._judge(output.detach().clone(), 0).backward()
            self.optimizers[1].step()
        with torch.no_grad():
            for key, value in self.generator.named_parameters():
                self.average[key].mul_(0.999).add_(value, alpha=0.001)

    def _feature_loss(self, output: Tensor) -> Tensor:
        got, wanted = self.vgg(output), self.vgg(self.clean.detach())
        parts = [
            weight * (got[name] - wanted[name].detach()).abs().mean()
            for name, weight in LAYER_WEIGHTS.items()
        ]
        return torch.stack(parts).sum()

    def _judge(self, images: Tensor, wanted: float) -> Tensor:
        logits = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))


def _build(network: dict[str, Any]) -> nn.Module:
    if network["architecture"] == "srvgg":
        return SRVGGNetCompact(4, network["features"], network["convs"])
    return RRDBNet(4, network["features"], network["growth"], network["blocks"])

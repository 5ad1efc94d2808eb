"""A plain training loop: eager PyTorch in FP32, as the published training code computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_training.discriminators import UNetDiscriminatorSN
from restora_training.extractors import VGG19Features
from restora_training.losses import LAYER_WEIGHTS


def make_plain_step(
    network: dict[str, Any], degraded: Tensor, clean: Tensor, *, all_losses: bool
) -> Callable[[], None]:
    """A function that runs one iteration.

    network: as in a recipe, of scale 4
    all_losses: the perceptual and the adversarial loss, besides L1
    """
    generator = _build(network)
    discriminator, vgg = UNetDiscriminatorSN(), VGG19Features(list(LAYER_WEIGHTS))
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99))
        for net in (generator, discriminator)
    ]
    average = {key: value.detach().clone() for key, value in generator.named_parameters()}

    def step() -> None:
        discriminator.requires_grad_(False)
        optimizers[0].zero_grad()
        output = generator(degraded)
        loss = (output - clean).abs().mean()
        if all_losses:
            loss = loss + _feature_loss(vgg, output, clean) + 0.1 * _judge(discriminator, output, 1)
        loss.backward()
        optimizers[0].step()
        if all_losses:
            discriminator.requires_grad_(True)
            optimizers[1].zero_grad()
            _judge(discriminator, clean, 1).backward()
            _judge(discriminator, output.detach().clone(), 0).backward()
            optimizers[1].step()
        with torch.no_grad():
            for key, value in generator.named_parameters():
                average[key].mul_(0.999).add_(value, alpha=0.001)

    return step


def _build(network: dict[str, Any]) -> nn.Module:
    if network["architecture"] == "srvgg":
        return SRVGGNetCompact(4, network["features"], network["convs"])
    return RRDBNet(4, network["features"], network["growth"], network["blocks"])


def _feature_loss(vgg: nn.Module, output: Tensor, clean: Tensor) -> Tensor:
    got, wanted = vgg(output), vgg(clean.detach())
    parts = [
        weight * (got[name] - wanted[name].detach()).abs().mean()
        for name, weight in LAYER_WEIGHTS.items()
    ]
    return torch.stack(parts).sum()


def _judge(discriminator: nn.Module, images: Tensor, wanted: float) -> Tensor:
    logits = discriminator(images)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, wanted))

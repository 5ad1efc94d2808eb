"""Adversarial losses of logits, and the R1 penalty.

vanilla: Goodfellow et al., arXiv:1406.2661, with the non-saturating generator loss
logistic: the same function, written with softplus as StyleGAN2 does; published as wgan_softplus
lsgan: Mao et al., arXiv:1611.04076
wgan: Arjovsky et al., arXiv:1701.07875
hinge: Lim and Ye, arXiv:1705.02894
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

GanKind = Literal["vanilla", "logistic", "lsgan", "wgan", "hinge"]


def generator_loss(logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """The loss of a generator for the logits of its images."""
    return -logits.mean() if kind == "hinge" else real_loss(logits, kind)


def real_loss(logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """The loss of a discriminator for the logits of real images."""
    if kind == "lsgan":
        return F.mse_loss(logits, torch.ones_like(logits))
    if kind == "wgan":
        return -logits.mean()
    if kind == "hinge":
        return F.relu(1 - logits).mean()
    return F.softplus(-logits).mean()


def fake_loss(logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """The loss of a discriminator for the logits of generated images."""
    if kind == "lsgan":
        return logits.square().mean()
    if kind == "wgan":
        return logits.mean()
    if kind == "hinge":
        return F.relu(1 + logits).mean()
    return F.softplus(logits).mean()


def r1_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Mean over the batch of the squared gradient norm of the logits with respect to the images.

    images: real images that require gradients, from which `logits` were computed

    Mescheder et al., arXiv:1801.04406. A discriminator adds weight / 2 times this, times the number
    of steps between two penalties.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()

"""What the damage detector and the repairer learn from: their losses on samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_export.reference import DamageDetector
from restora_training.damage.batches import Batch
from restora_training.damage.plan import Part

_POSITIVE = 1.0  # additional weight of damaged pixels
_OVERLAP = 0.5  # weight of the overlap
_LINEAR = 0.15  # larger errors of a filling count linearly
_GRADIENT = 0.05  # weight of the error of its gradient


def detection_loss(network: nn.Module, batch: Batch, *, calm: bool = False) -> Tensor:
    """Cross entropy where the answer counts; unless `calm`, damage weighs more, and one minus the
    overlap of mask and probability (Milletari et al., arXiv:1606.04797) is added."""
    mask = batch.mask
    assert isinstance(network, DamageDetector)
    with torch.autocast(mask.device.type, torch.bfloat16):
        logits = network.find(batch.picture, batch.thin)
    logits = logits.float()
    each = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    share = batch.weights.where(mask > 0, 1.0) * batch.asked
    if calm:
        return (each * share).sum() / share.sum()
    # damage is rare: an unweighted mean would be small for an empty mask
    weight = share * (1 + _POSITIVE * mask)
    entropy = (each * weight).sum() / weight.sum()
    found = torch.sigmoid(logits) * share
    overlap = (2 * (found * mask).sum() + 1) / (found.sum() + (mask * share).sum() + 1)
    return entropy + _OVERLAP * (1 - overlap)


def repair_loss(network: nn.Module, batch: Batch, *, calm: bool = False) -> Tensor:
    """The error inside the mask, and of its gradient there: squares of small errors, and large ones
    themselves (Charbonnier). Thin damage weighs more, but less so than for a detector: how well
    large holes are filled counts, too."""
    del calm
    weight, mask = batch.weights.sqrt(), batch.mask
    given = torch.cat((batch.picture, mask, batch.hidden), 1)
    given = given.contiguous(memory_format=torch.channels_last)
    with torch.autocast(mask.device.type, torch.bfloat16):
        filled = network(given)
    difference = (filled.float() - batch.clean) * mask
    each = weight * mask
    error = ((difference.square() + _LINEAR**2).sqrt() - _LINEAR) * each
    across = (difference[..., 1:] - difference[..., :-1]).abs() * weight[..., 1:]
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs() * weight[..., 1:, :]
    total = error.sum() + _GRADIENT * (across.sum() + down.sum())
    loss: Tensor = total / (3 * each.sum()).clamp(min=1)
    return loss


LOSSES: dict[Part, Callable[..., Tensor]] = {
    "detector": detection_loss,
    "repairer": repair_loss,
}

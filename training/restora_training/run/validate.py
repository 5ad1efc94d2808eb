"""Measure a network on photos that it is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from restora_training.data.samples import Sample

_MOST = 8  # samples


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the held-out samples, against the clean photos. PSNR in dB."""

    psnr: float
    ssim: float


def validate(
    network: nn.Module, samples: Sequence[Sample], *, is_face: bool
) -> tuple[Figures, list[NDArray[np.uint8]]]:
    """Restore the samples. Returns the figures, and for each sample one picture: the degraded one
    (enlarged by repeating pixels), the restored one and the clean one, side by side."""
    psnr, ssim, sheets = [], [], []
    was_training = network.training
    network.eval()
    for sample in samples[:_MOST]:
        with torch.no_grad():
            output = network(sample.degraded[None])[0]
        clean, made, degraded = (
            picture_of(x, is_face=is_face) for x in (sample.clean, output, sample.degraded)
        )
        psnr.append(peak_signal_noise_ratio(clean, made, data_range=255))
        ssim.append(structural_similarity(clean, made, data_range=255, channel_axis=2))
        factor = clean.shape[0] // degraded.shape[0]
        large = degraded.repeat(factor, 0).repeat(factor, 1)
        sheets.append(np.concatenate((large, made, clean), 1))
    network.train(was_training)
    return Figures(float(np.mean(psnr)), float(np.mean(ssim))), sheets


def picture_of(image: Tensor, *, is_face: bool) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) of a tensor (3, height, width) in the network's range."""
    values = (image.detach() + 1) / 2 if is_face else image.detach()
    levels = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().numpy()

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
from restora_training.run.perceptual_distance import Distance


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the held-out samples, against the clean photos. PSNR in dB.

    lpips: None where its weights are not given
    """

    psnr: float
    ssim: float
    lpips: float | None = None

    def by_name(self) -> dict[str, float]:
        """The figures that were measured."""
        figures = {"psnr": self.psnr, "ssim": self.ssim}
        return figures if self.lpips is None else figures | {"lpips": self.lpips}


def validate(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    is_face: bool,
    distance: Distance | None = None,
) -> tuple[Figures, list[NDArray[np.uint8]]]:
    """Restore the samples.

    distance: LPIPS

    Returns the figures, and for each sample one picture: the degraded one (enlarged by repeating
    pixels), the restored one and the clean one, side by side.
    """
    psnr, ssim, lpips, sheets = [], [], [], []
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    for sample in samples:
        with torch.no_grad():
            output = network(sample.degraded[None].to(device))[0].cpu()
        clean, made, degraded = (
            picture_of(x, is_face=is_face) for x in (sample.clean, output, sample.degraded)
        )
        psnr.append(peak_signal_noise_ratio(clean, made, data_range=255))
        ssim.append(structural_similarity(clean, made, data_range=255, channel_axis=2))
        if distance is not None:
            lpips.append(distance(clean, made))
        factor = clean.shape[0] // degraded.shape[0]
        large = degraded.repeat(factor, 0).repeat(factor, 1)
        sheets.append(np.concatenate((large, made, clean), 1))
    network.train(was_training)
    mean_lpips = float(np.mean(lpips)) if lpips else None
    return Figures(float(np.mean(psnr)), float(np.mean(ssim)), mean_lpips), sheets


def picture_of(image: Tensor, *, is_face: bool) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) of a tensor (3, height, width) in the network's range."""
    values = (image.detach() + 1) / 2 if is_face else image.detach()
    levels = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().numpy()

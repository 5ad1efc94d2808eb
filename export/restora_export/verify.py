"""Measure an artefact against its PyTorch reference, on photo tiles and on random input."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from restora.artifact import Accuracy
from restora.errors import NonFiniteOutputError
from restora.sessions import Session
from restora.sessions.base import Batch
from restora_export.photo_tiles import load_photo_tiles

PSNR_CAP = 150.0  # what identical pictures are given, since JSON knows no infinity
_SSIM_WINDOW = 7
_SEED = 20190219


@dataclass(frozen=True, slots=True)
class Case:
    """One batch to compare on. batch: (batch, height, width, 3) in 0..1; photo: not random."""

    batch: NDArray[np.float32]
    photo: bool


def iter_cases(multiple: int) -> Iterator[Case]:
    """Photo tiles and uniform noise in several sizes and batches, smallest input included.

    multiple  what height and width must be multiples of
    """
    tiles = load_photo_tiles().astype(np.float32) / np.float32(255)
    for index in range(len(tiles)):
        yield Case(tiles[index : index + 1], photo=True)
    yield Case(tiles[:3, 8:72, 16:80], photo=True)
    yield Case(tiles[:2, : 8 * multiple, : 12 * multiple], photo=True)
    rng = np.random.default_rng(_SEED)
    for batch, height, width in ((1, 16, 24), (2, 9, 7), (1, 1, 1)):
        shape = (batch, height * multiple, width * multiple, 3)
        yield Case(rng.random(shape, dtype=np.float32), photo=False)


def measure_accuracy(session: Session, network: nn.Module) -> Accuracy:
    """Compare `session` with `network` on all cases.

    network  the PyTorch FP32 reference, in eval mode: (batch, 3, height, width) in 0..1

    Errors are shares of the value range; PSNR and SSIM are taken over photo tiles only. A batch
    on which the session puts out NaN or Inf counts all its values as such.
    """
    io = session.info.io
    largest, nonfinite, tiles = 0.0, 0, 0
    psnrs: list[float] = []
    ssims: list[float] = []
    for case in iter_cases(session.limits.multiple):
        tiles += 1
        batch: Batch = _quantise(case.batch) if io == "uint8" else case.batch
        expected = run_reference(network, batch)
        try:
            got = session.run(batch)
        except NonFiniteOutputError:
            nonfinite += expected.size
            continue
        white = 255.0 if io == "uint8" else 1.0
        difference = (got.astype(np.float64) - expected.astype(np.float64)) / white
        nonfinite += int((~np.isfinite(difference)).sum())
        largest = max(largest, float(np.abs(np.nan_to_num(difference)).max()))
        if case.photo:
            for index in range(len(got)):
                psnrs.append(psnr_from_difference(difference[index]))
                ssims.append(_ssim(got[index] / white, expected[index] / white))
    return Accuracy(
        max_error=largest,
        psnr_mean=round(float(np.mean(psnrs)), 2) if psnrs else 0.0,
        psnr_min=round(min(psnrs), 2) if psnrs else 0.0,
        ssim_mean=round(float(np.mean(ssims)), 6) if ssims else 0.0,
        nonfinite=nonfinite,
        tiles=tiles,
        reference=f"PyTorch {torch.__version__} FP32",
    )


def run_reference(network: nn.Module, batch: Batch) -> Batch:
    """The reference's answer in the artefact's own layout and dtype, clipped, rounded to even.

    batch  (batch, height, width, 3), uint8 or float32 in 0..1
    """
    x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2)
    if batch.dtype == np.uint8:
        x = x.float() / 255
    with torch.inference_mode():
        y: torch.Tensor = network(x.contiguous()).clamp(0, 1)
    if batch.dtype == np.uint8:
        y = (y * 255).round().to(torch.uint8)
    answer: Batch = y.permute(0, 2, 3, 1).contiguous().numpy()
    return answer


def psnr_from_difference(difference: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB of a difference in shares of the range, at most 150."""
    error = float(np.mean(np.square(difference)))
    if not math.isfinite(error):
        return 0.0
    return PSNR_CAP if error == 0 else min(PSNR_CAP, -10 * math.log10(error))


def _quantise(batch: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(batch * 255).astype(np.uint8)


def _ssim(got: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    if min(got.shape[:2]) < _SSIM_WINDOW:
        return 1.0
    return float(
        structural_similarity(got, expected, data_range=1.0, channel_axis=2, win_size=_SSIM_WINDOW)
    )

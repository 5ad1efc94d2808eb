"""The published ways, as peers to measure against: padded tiles and hard cuts, in eager PyTorch
and in ncnn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from restora.backends.base import Batch
from restora.tiling import split_published

if TYPE_CHECKING:
    from torch import nn


def upsample_published(
    network: nn.Module, photo: NDArray[np.uint8], *, scale: int, tile: int, tile_pad: int
) -> NDArray[np.uint8]:
    """Enlarge as the published script does: padded tiles, hard cuts, float32 canvas.

    photo  uint8 RGB, (height, width, 3); sides multiples of what the network takes
    """
    import torch

    x = torch.from_numpy(photo.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255
    height, width = photo.shape[:2]
    canvas = torch.empty(1, 3, height * scale, width * scale)
    with torch.inference_mode():
        for row in split_published(height, tile=tile, pad=tile_pad):
            for col in split_published(width, tile=tile, pad=tile_pad):
                y = network(x[..., row.start : row.stop, col.start : col.stop])
                top, left = (row.left - row.start) * scale, (col.left - col.start) * scale
                high, wide = (row.right - row.left) * scale, (col.right - col.left) * scale
                canvas[
                    ...,
                    row.left * scale : row.right * scale,
                    col.left * scale : col.right * scale,
                ] = y[..., top : top + high, left : left + wide]
    pixels = canvas[0].clamp(0, 1).permute(1, 2, 0).mul(255).round().to(torch.uint8)
    return pixels.contiguous().numpy()


def enlarge_published(
    run: Callable[[Batch], Batch],
    photo: NDArray[np.uint8],
    *,
    scale: int,
    tile: int,
    tile_pad: int,
) -> NDArray[np.uint8]:
    """The same with any network.

    run: (1, height, width, 3) to (1, scale * height, scale * width, 3)
    """
    height, width = photo.shape[:2]
    canvas = np.empty((height * scale, width * scale, 3), np.uint8)
    for row in split_published(height, tile=tile, pad=tile_pad):
        for col in split_published(width, tile=tile, pad=tile_pad):
            y = run(photo[None, row.start : row.stop, col.start : col.stop])[0]
            canvas[row.left * scale : row.right * scale, col.left * scale : col.right * scale] = y[
                (row.left - row.start) * scale : (row.right - row.start) * scale,
                (col.left - col.start) * scale : (col.right - col.start) * scale,
            ]
    return canvas

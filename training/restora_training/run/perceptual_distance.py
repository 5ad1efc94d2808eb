"""LPIPS: the learned perceptual distance of two pictures, Zhang et al., arXiv:1801.03924."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray

from restora.errors import MissingBackendError, OptionError

Pixels = NDArray[np.uint8]
Distance = Callable[[Pixels, Pixels], float]

WEIGHTS_FILE = "alexnet-owt-7be5be79.pth"  # torchvision's


def open_distance(weights: Path) -> Distance:
    """A function of two uint8 RGB pictures of one size; smaller is nearer.

    weights: torchvision's file of AlexNet. torchmetrics contains the linear layers on top of it

    Raises OptionError if there is no such file, MissingBackendError without torchmetrics and
    torchvision.
    """
    if not weights.is_file():
        raise OptionError(
            f"LPIPS needs torchvision's {WEIGHTS_FILE}, but there is no file {weights}"
        )
    try:
        import torchvision  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise MissingBackendError(
            f"LPIPS needs pip install 'restora[evaluate]' ({error})"
        ) from error
    before = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "checkpoints"
        cache.mkdir()
        (cache / WEIGHTS_FILE).symlink_to(weights.resolve())
        torch.hub.set_dir(name)  # torchvision reads its weights from there
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torchvision, about its own arguments
                measure = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
        except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
            raise OptionError(f"{weights} is not torchvision's {WEIGHTS_FILE}: {error}") from error
        finally:
            torch.hub.set_dir(before)

    def distance(a: Pixels, b: Pixels) -> float:
        with torch.inference_mode():
            return float(measure(_tensor(a), _tensor(b)))

    return distance


def _tensor(pixels: Pixels) -> torch.Tensor:
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(planes)[None].float() / 255

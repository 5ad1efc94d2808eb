"""Figures of a restored photo against the clean one, and of a set against a set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restora.errors import MissingBackendError, MissingModelError

Pixels = NDArray[np.uint8]
_INSTALL = "pip install 'restora[evaluate]'"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


class Metric(Protocol):
    """Takes pairs one by one; gives one figure in the end."""

    @property
    def name(self) -> str: ...

    def add(self, clean: Pixels, restored: Pixels) -> None: ...

    def figure(self) -> float: ...


class MeanOf:
    """The mean over all pairs of a figure of each pair."""

    def __init__(self, name: str, of_pair: Callable[[Pixels, Pixels], float]) -> None:
        self.name = name
        self._of_pair = of_pair
        self._values: list[float] = []

    def add(self, clean: Pixels, restored: Pixels) -> None:
        self._values.append(self._of_pair(clean, restored))

    def figure(self) -> float:
        return float(np.mean(self._values))


def psnr() -> Metric:
    """dB, of 8-bit RGB."""
    return MeanOf("PSNR", lambda a, b: float(peak_signal_noise_ratio(a, b, data_range=255)))


def ssim() -> Metric:
    """Of RGB, 7 px windows."""
    return MeanOf(
        "SSIM",
        lambda a, b: float(structural_similarity(a, b, data_range=255, channel_axis=2)),
    )


def lpips(weights: Path | None, network: Literal["alex", "vgg", "squeeze"] = "alex") -> Metric:
    """Learned perceptual distance (arXiv:1801.03924), smaller is nearer.

    weights  a folder laid out as torch's own cache (hub/checkpoints/...); None: that cache

    Raises MissingBackendError or MissingModelError, saying what to get.
    """
    with _torch_home(weights):
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            # torchvision's backbone comes from the cache, or else is downloaded
            measure = LearnedPerceptualImagePatchSimilarity(net_type=network, normalize=True)
        except (ImportError, ModuleNotFoundError) as error:
            raise MissingBackendError(f"LPIPS needs {_INSTALL} ({error})") from error
        except OSError as error:  # no network, or a damaged file
            raise MissingModelError(
                f"LPIPS needs the weights of {network} in torch's cache or under --weights: {error}"
            ) from error

    def of_pair(clean: Pixels, restored: Pixels) -> float:
        import torch

        with torch.inference_mode():
            return float(measure(_tensor(restored), _tensor(clean)))

    return MeanOf("LPIPS", of_pair)


class FrechetDistance:
    """FID (arXiv:1706.08500): the distance of two sets in the features of a network.

    extractor  2048, the published InceptionV3, or a torch module that maps uint8
               (batch, 3, h, w) to (batch, features)
    weights    a folder with the published file; None: torch's own cache

    Raises MissingBackendError or MissingModelError, saying what to get.
    """

    name = "FID"

    def __init__(self, weights: Path | None, extractor: Any = 2048) -> None:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance

            extra: dict[str, Any] = {}
            if weights is not None and isinstance(extractor, int):
                file = weights / INCEPTION_FILE
                if not file.is_file():
                    raise MissingModelError(f"FID needs {INCEPTION_FILE} in {weights}")
                extra["feature_extractor_weights_path"] = str(file)
            self._measure = FrechetInceptionDistance(feature=extractor, **extra)
        except (ImportError, ModuleNotFoundError) as error:
            raise MissingBackendError(f"FID needs {_INSTALL} ({error})") from error
        except OSError as error:
            raise MissingModelError(
                f"FID needs {INCEPTION_FILE} in torch's cache or under --weights: {error}"
            ) from error
        self._count = 0

    def add(self, clean: Pixels, restored: Pixels) -> None:
        self._measure.update(_tensor(clean, dtype=np.uint8), real=True)
        self._measure.update(_tensor(restored, dtype=np.uint8), real=False)
        self._count += 1

    def figure(self) -> float:
        """NaN for fewer than two pairs: a covariance needs them."""
        return float(self._measure.compute()) if self._count > 1 else float("nan")


def _tensor(pixels: Pixels, *, dtype: Any = np.float32) -> Any:
    """(1, 3, h, w); floats in 0..1."""
    import torch

    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]
    return torch.from_numpy(planes if dtype == np.uint8 else planes.astype(np.float32) / 255)


@contextmanager
def _torch_home(folder: Path | None) -> Iterator[None]:
    """Let torch look for weights in `folder`."""
    before = os.environ.get("TORCH_HOME")
    if folder is not None:
        os.environ["TORCH_HOME"] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            if before is None:
                del os.environ["TORCH_HOME"]
            else:
                os.environ["TORCH_HOME"] = before

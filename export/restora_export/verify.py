"""Measure the accuracy of an artifact against PyTorch, on photo tiles and on random input."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from restora.artifact import Accuracy, Io, Kind, Precision, SelfCheck
from restora.artifact.tensors import SEEN_LEVEL
from restora.backends import Session
from restora.backends.base import Batch
from restora.errors import NonFiniteOutputError
from restora_export.facts import NetworkFacts, facts_of
from restora_export.graph import make_graph
from restora_export.half import tensor_core_arithmetic
from restora_export.mixed import half_convolutions
from restora_export.photo_tiles import CROP, load_photo_tiles, load_selfcheck_crops
from restora_export.reference import GFPGAN, DamageDetector, ParseNet, Repairer, RetinaFace

Run: TypeAlias = Callable[[Batch], Batch]

PSNR_CAP = 150.0  # the PSNR of identical images, since JSON has no infinity
_SSIM_WINDOW = 7
_SEED = 20190219
_SEEN = SEEN_LEVEL / 255  # in a mask of a repairer


@dataclass(frozen=True, slots=True)
class Case:
    """A batch to compare.

    batch: (batch, height, width, 3), 0..1
    photo: whether it shows photos and not random values
    """

    batch: NDArray[np.float32]
    photo: bool


def iter_cases(facts: NetworkFacts) -> Iterator[Case]:
    """Photo tiles and uniform noise in several sizes and batches, including the smallest input.

    A network with a fixed side gets the tiles upscaled to it, as it gets small faces.
    """
    tiles = load_photo_tiles().astype(np.float32) / np.float32(255)
    rng = np.random.default_rng(_SEED)
    if facts.side is not None:
        side = (facts.side, facts.side)
        large = np.stack([cv2.resize(tile, side, interpolation=cv2.INTER_CUBIC) for tile in tiles])
        large = np.clip(large, 0, 1)
        for index in range(3):
            yield Case(large[index : index + 1], photo=True)
        yield Case(large[3:5], photo=True)
        yield Case(rng.random((1, *side, 3), dtype=np.float32), photo=False)
        yield Case(np.zeros((1, *side, 3), np.float32), photo=False)
        return
    if facts.kind == "repairer":
        yield from _masked_cases(tiles, rng)
        return
    multiple = facts.size_multiple
    for index in range(len(tiles)):
        yield Case(_fit(tiles[index : index + 1], multiple), photo=True)
    yield Case(_fit(tiles[:3, 8:72, 16:80], multiple), photo=True)
    yield Case(tiles[:2, : 8 * multiple, : 12 * multiple], photo=True)
    for batch, height, width in ((1, 16, 24), (2, 9, 7), (1, 1, 1)):
        shape = (batch, height * multiple, width * multiple, 3)
        yield Case(rng.random(shape, dtype=np.float32), photo=False)


def _masked_cases(tiles: NDArray[np.float32], rng: np.random.Generator) -> Iterator[Case]:
    """Tiles with scratches, holes and no damage at all, and random input."""
    for index in range(len(tiles)):
        yield Case(with_mask(tiles[index : index + 1], rng), photo=True)
    for share in (0.0, _SEEN, 1.0):
        mask = np.full((1, 64, 96, 1), share, np.float32)
        yield Case(np.concatenate((tiles[:1, :64, :96], mask), 3), photo=False)
    noise = rng.random((2, 96, 64, 4), dtype=np.float32)
    noise[..., 3] = np.array([0, _SEEN, 1], np.float32)[(noise[..., 3] * 3).astype(np.int64)]
    yield Case(noise, photo=False)


def with_mask(tiles: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Tiles with a fourth channel: a mask of lines and of a rectangle, which cover about a third.
    The color under two lines and a half of the rectangle must not count.

    tiles: (batch, height, width, 3), 0..1
    """
    batch, height, width, _ = tiles.shape
    mask = np.zeros((batch, height, width, 1), np.float32)
    for plane in mask:
        for number in range(6):
            first, last = rng.integers(0, (width, height), (2, 2)).tolist()
            canvas = np.ascontiguousarray(plane[..., 0])
            level = 1.0 if number < 2 else _SEEN
            cv2.line(canvas, first, last, level, int(rng.integers(1, 6)))
            plane[..., 0] = canvas
        top, left = rng.integers(0, (height // 2, width // 2))
        plane[top : top + height // 3, left : left + width // 3] = _SEEN
        plane[top : top + height // 6, left : left + width // 3] = 1
    return np.concatenate((tiles, mask), 3)


def _fit(tiles: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Cut below and right to sides that are multiples."""
    height, width = (side // multiple * multiple for side in tiles.shape[1:3])
    return tiles[:, :height, :width]


def measure_accuracy(session: Session, network: nn.Module, *, noise: float = 1.0) -> Accuracy:
    """Compare `session` with `network` on all cases.

    network: the PyTorch FP32 reference, in eval mode
    noise: for a face network, the factor of its stored noise

    Errors are shares of the value range. PSNR and SSIM use photo tiles only. If the session returns
    NaN or Inf, all values of that batch count as such. An FP16 or mixed artifact gets the worse
    figures of the session, which may compute in FP32, and of simulated FP16 arithmetic.
    """
    info = session.info
    facts = facts_of(network)
    runs: list[Run] = [session.run]
    if info.precision in ("fp16", "mixed"):
        runs.append(_half_run(network, info.io, info.precision, noise))
    tally = _Tally(max_value=255.0 if info.io == "uint8" else 1.0, kind=facts.kind)
    for case in iter_cases(facts):
        batch: Batch = _quantize(case.batch) if info.io == "uint8" else case.batch
        expected = run_reference(network, batch, noise=noise)
        tally.cases += 1
        for run in runs:
            tally.compare(run, batch, expected, photo=case.photo)
    return tally.accuracy()


def measure_against(
    run: Run, cases: Iterable[tuple[Batch, Batch]], *, io: Io, kind: Kind, reference: str
) -> Accuracy:
    """Compare `run` with known results.

    cases: pairs of photo tiles and expected results
    reference: description of the reference
    """
    tally = _Tally(max_value=255.0 if io == "uint8" else 1.0, kind=kind)
    for batch, answer in cases:
        tally.cases += 1
        tally.compare(run, batch, answer, photo=True)
    return replace(tally.accuracy(), reference=reference)


def make_selfcheck(network: nn.Module, io: Io, *, noise: float = 1.0) -> SelfCheck | None:
    """Make the self-check: small crops of photos, or a face, and the result of the reference.

    Returns None for a network that does not return images.
    """
    facts = facts_of(network)
    if facts.kind in ("detector", "parser"):
        return None
    if facts.side is not None:
        (first, *_) = iter_cases(facts)
        picture = first.batch
    else:
        side = CROP // facts.size_multiple * facts.size_multiple
        picture = load_selfcheck_crops()[:, :side, :side].astype(np.float32) / np.float32(255)
        if facts.kind == "repairer":
            picture = with_mask(picture, np.random.default_rng(_SEED))
    image: Batch = _quantize(picture) if io == "uint8" else picture
    return SelfCheck(image, run_reference(network, image, noise=noise))


@dataclass(slots=True)
class _Tally:
    """Accumulates comparisons.

    max_value: the upper end of the value range
    kind: kind of the network, which determines how differences are measured
    """

    max_value: float
    kind: Kind
    cases: int = 0
    largest: float = 0.0
    nonfinite: int = 0
    psnrs: list[float] = field(default_factory=list)
    ssims: list[float] = field(default_factory=list)

    def compare(self, run: Run, batch: Batch, expected: Batch, *, photo: bool) -> None:
        try:
            got = run(batch)
        except NonFiniteOutputError:
            self.nonfinite += expected.size
            return
        if self.kind == "parser":
            other = (got != expected).mean(axis=(1, 2, 3))
            self.largest = max(self.largest, float(other.max()))
            return
        max_value = 1.0 if self.kind == "detector" else self.max_value
        difference = (got.astype(np.float64) - expected.astype(np.float64)) / max_value
        self.nonfinite += int((~np.isfinite(difference)).sum())
        self.largest = max(self.largest, float(np.abs(np.nan_to_num(difference)).max()))
        if photo and self.kind != "detector":
            for index in range(len(got)):
                self.psnrs.append(psnr_from_difference(difference[index]))
                self.ssims.append(_ssim(got[index] / max_value, expected[index] / max_value))

    def accuracy(self) -> Accuracy:
        psnrs, ssims = self.psnrs or [0.0], self.ssims or [0.0]
        return Accuracy(
            max_error=self.largest,
            psnr_mean=round(float(np.mean(psnrs)), 2),
            psnr_min=round(min(psnrs), 2),
            ssim_mean=round(float(np.mean(ssims)), 6),
            nonfinite=self.nonfinite,
            tiles=self.cases,
            reference=f"PyTorch {torch.__version__} FP32",
        )


def run_reference(network: nn.Module, batch: Batch, *, noise: float = 1.0) -> Batch:
    """Run the reference, and convert its result to the layout and dtype of the artifact.

    batch: (batch, height, width, 3), uint8 or float32 in 0..1
    """
    x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).contiguous()
    unit = x.float() / 255 if batch.dtype == np.uint8 else x
    with torch.inference_mode():
        if isinstance(network, RetinaFace):
            means = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
            rows: Batch = torch.cat(network((unit * 255).flip(1) - means), 2).numpy()
            return rows
        if isinstance(network, ParseNet):
            labels: Batch = network(unit * 2 - 1)[0].argmax(1)[..., None].to(torch.uint8).numpy()
            return labels
        if isinstance(network, DamageDetector):
            y = torch.sigmoid(network(unit))
        elif isinstance(network, Repairer):
            damaged, hidden = (unit[:, 3:] >= level / 255 for level in (128, 192))
            filled = network(torch.cat((unit[:, :3], damaged.float(), hidden.float()), 1))
            y = torch.where(damaged, filled, unit[:, :3])
        elif isinstance(network, GFPGAN):
            y = (network(unit * 2 - 1, noise) + 1) / 2
        else:
            y = network(unit)
        y = y.clamp(0, 1)
        if batch.dtype == np.uint8:
            y = (y * 255).round().to(torch.uint8)
    answer: Batch = y.permute(0, 2, 3, 1).contiguous().numpy()
    return answer


def _half_run(network: nn.Module, io: Io, precision: Precision, noise: float) -> Run:
    graph = make_graph(network, io=io, precision=precision, noise=noise).eval()
    arithmetic = half_convolutions if precision == "mixed" else tensor_core_arithmetic

    def run(batch: Batch) -> Batch:
        with arithmetic():
            picture, means = graph(torch.from_numpy(np.ascontiguousarray(batch)))
        if not torch.isfinite(means).all():
            raise NonFiniteOutputError("FP16 arithmetic returns NaN or Inf")
        answer: Batch = picture.numpy()
        return answer

    return run


def psnr_from_difference(difference: NDArray[np.float64]) -> float:
    """PSNR in dB, at most 150, of a difference as a share of the value range."""
    error = float(np.mean(np.square(difference)))
    if not math.isfinite(error):
        return 0.0
    return PSNR_CAP if error == 0 else min(PSNR_CAP, -10 * math.log10(error))


def _quantize(batch: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(batch * 255).astype(np.uint8)


def _ssim(got: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    if min(got.shape[:2]) < _SSIM_WINDOW:
        return 1.0
    return float(
        structural_similarity(got, expected, data_range=1.0, channel_axis=2, win_size=_SSIM_WINDOW)
    )

"""Evaluate the repair of damage on pairs made by the model of damage, and on clean photos.

Damage is drawn with other seeds than in training, on photos that training never reads.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.damage.mask import decide_mask, keep_thin
from restora.damage.networks import cut_color
from restora.damage.stage import DamageStage
from restora.image import Photo, read_photo
from restora_benchmarks.evaluate.damage_figures import (
    Detection,
    KindFigures,
    PhotoFigures,
    Repair,
    detection_of,
    kind_figures_of,
    psnr_of,
    repair_of,
)
from restora_benchmarks.evaluate.damage_pairs import (
    SEED,
    DamagePair,
    iter_pairs,
    iter_scans,
    iter_scratched,
)
from restora_benchmarks.evaluate.damage_report import DamageReport
from restora_benchmarks.evaluate.marked import MarkedFigures, figures_of, iter_marked
from restora_calibration.folders import list_photos
from restora_calibration.photos import HELD_OUT, read_free_photo
from restora_training.damage.lookalikes import LOOKALIKES

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_LEAST_CONTRAST = 10  # levels
_RADIUS_PX = 3  # of OpenCV's inpaint


@dataclass(slots=True)
class _Clock:
    seconds: float = 0.0
    pixels: int = 0

    def run(self, work: Callable[[], Any], pixels: int) -> Any:
        started = time.perf_counter()
        result = work()
        self.seconds += time.perf_counter() - started
        self.pixels += pixels
        return result

    @property
    def mp_per_s(self) -> float:
        return self.pixels / 1e6 / self.seconds if self.seconds else 0.0


def evaluate_damage(
    stage: DamageStage,
    folder: Path | None = None,
    *,
    draws: int = 4,
    marked: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> DamageReport:
    """Evaluate the two networks of a stage.

    folder: clean photos; None: the held-out photos
    draws: damaged versions of each photo, each with damage of its own
    marked: photos with real damage and masks of it, as iter_marked reads them
    """
    assert stage.finder is not None
    photos = dict(_read_photos(folder))
    find, repair = _Clock(), _Clock()
    run = _Run(stage, find, repair)
    report(f"{len(photos)} photos, {draws} damaged versions of each")
    scratches, scratch_repairs, _ = run.evaluate(_draw(photos, draws, iter_scratched))
    scanned = run.detect(_draw(photos, draws, iter_scans))
    report("scratches are evaluated")
    damage, repairs, kinds = run.evaluate(_draw(photos, draws, iter_pairs))
    report("all damage is evaluated")
    own = run.repair_clean(photos)
    shares = {"photos": float(np.mean([share for share, _ in own.values()]))}
    shares |= run.find_in_lookalikes(photos)
    real = {} if marked is None else run.find_marked(marked)
    return DamageReport(
        len(photos),
        len(photos) * draws,
        {
            f"scratches of 1 px and more, {_LEAST_CONTRAST} levels": _sum(scratches),
            "the same scratches, in soft and grainy scans": _sum(scanned),
            "all damage": _sum(damage),
        },
        repairs,
        scratch_repairs,
        shares,
        find.mp_per_s,
        repair.mp_per_s,
        real,
        kinds,
        {name: PhotoFigures(scratches[name], *own[name]) for name in own},
    )


class _Run:
    def __init__(self, stage: DamageStage, find: _Clock, repair: _Clock) -> None:
        assert stage.finder is not None
        self._finder, self._repairer = stage.finder, stage.repairer
        self._options = stage.options
        self._find, self._repair = find, repair

    def detect(self, pairs: Iterable[tuple[str, DamagePair]]) -> dict[str, Detection]:
        """What was found, by photo; nothing is repaired."""
        detection = defaultdict[str, Detection](Detection)
        for file, pair in pairs:
            found = self._decide(self._probability(pair.picture), grow_px=0)
            detection[file] += detection_of(found, pair.mask, asked=_plain(pair))
        return detection

    def evaluate(
        self, pairs: Iterable[tuple[str, DamagePair]]
    ) -> tuple[dict[str, Detection], dict[str, Repair], dict[str, KindFigures]]:
        """What was found, by photo; repairs by mask and method; and both by kind of damage."""
        detection = defaultdict[str, Detection](Detection)
        totals, kinds = dict[str, Repair](), dict[str, KindFigures]()
        for file, pair in pairs:
            probability = self._probability(pair.picture)
            asked, exact = _plain(pair), self._decide(probability, grow_px=0)
            detection[file] += detection_of(exact, pair.mask, asked=asked)
            found = self._decide(probability)
            made = {"nothing": (pair.picture, pair.mask)}
            for name, mask in (("true mask", pair.mask), ("found mask", found)):
                made[f"restora, {name}"] = (self._repaint(pair.picture, mask), mask)
                for method, flag in (
                    ("Telea", cv2.INPAINT_TELEA),
                    ("Navier-Stokes", cv2.INPAINT_NS),
                ):
                    hole = mask.astype(np.uint8)
                    painted = cv2.inpaint(pair.picture, hole, _RADIUS_PX, flag)
                    made[f"{method}, {name}"] = (np.asarray(painted, np.uint8), mask)
            for name, (result, mask) in made.items():
                figures = repair_of(result, pair.clean, pair.picture, pair.mask, used=mask)
                totals[name] = totals.get(name, Repair()) + figures
            repaired, _ = made["restora, found mask"]
            for kind, mask in pair.kinds.items():
                kinds[kind] = kinds.get(kind, KindFigures()) + kind_figures_of(
                    mask, exact, pair.clean, pair.picture, repaired, asked=asked
                )
        return detection, totals, kinds

    def repair_clean(self, photos: Mapping[str, Pixels]) -> dict[str, tuple[float, float]]:
        """By photo, the share of its pixels in the mask, and its PSNR to itself once repaired."""
        figures = {}
        for name, photo in photos.items():
            mask = self._decide(self._probability(photo))
            result = self._repaint(photo, mask) if mask.any() else photo
            error = float(np.square(result.astype(float) - photo).sum())
            figures[name] = float(mask.mean()), psnr_of(error, photo.size)
        return figures

    def find_in_lookalikes(self, photos: Mapping[str, Pixels]) -> dict[str, float]:
        """By kind of clean picture that looks damaged, the share of pixels in the mask."""
        shares = {}
        for kind, draw in LOOKALIKES.items():
            found = []
            for number, photo in enumerate(photos.values()):
                picture = draw(photo, np.random.default_rng([SEED, 3, number]))
                found.append(self._decide(self._probability(picture)).mean())
            shares[kind] = float(np.mean(found))
        return shares

    def find_marked(self, folder: Path) -> dict[str, MarkedFigures]:
        """What is found of the real damage in the photos of a folder."""
        figures = {}
        for photo in iter_marked(folder):
            probability = self._probability(photo.picture)
            found, repaired = self._decide(probability, grow_px=0), self._decide(probability)
            figures[photo.name] = figures_of(photo, found, repaired)
        return figures

    def _decide(self, probability: Pixels, *, grow_px: int = 1) -> Mask:
        mask = decide_mask(probability, self._options.threshold, grow_px=grow_px)
        return keep_thin(mask) if self._options.find == "scratches" else mask

    def _probability(self, picture: Pixels) -> Pixels:
        pixels = picture.shape[0] * picture.shape[1]
        found: Pixels = self._find.run(lambda: self._finder.find(Photo(picture)), pixels)
        return found

    def _repaint(self, picture: Pixels, mask: Mask) -> Pixels:
        pixels = picture.shape[0] * picture.shape[1]
        made = self._repair.run(lambda: self._repairer.repair(Photo(picture), mask), pixels)
        return np.asarray(made.pixels, np.uint8)


def _plain(pair: DamagePair) -> Mask:
    """The pixels that differ enough from the clean ones to be asked for."""
    change = np.abs(pair.picture.astype(int) - pair.clean).max(2)
    return np.asarray(change >= _LEAST_CONTRAST, np.bool_)


def _draw(
    photos: Mapping[str, Pixels],
    draws: int,
    damage: Callable[[Pixels, int, int], Iterator[DamagePair]],
) -> Iterator[tuple[str, DamagePair]]:
    for number, (name, photo) in enumerate(photos.items()):
        for pair in damage(photo, draws, number):
            yield name, pair


def _sum(figures: Mapping[str, Detection]) -> Detection:
    return sum(figures.values(), Detection())


def _read_photos(folder: Path | None) -> Iterator[tuple[str, Pixels]]:
    if folder is None:
        yield from ((photo.name, read_free_photo(photo)) for photo in HELD_OUT)
        return
    for path in list_photos(folder):
        photo = read_photo(path)
        pixels = cut_color(photo, np.arange(photo.height), np.arange(photo.width))
        yield path.relative_to(folder).as_posix(), pixels

"""Make calibration and validation tiles from photos."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import ImageError, OptionError
from restora_calibration.degrade import (
    CLEAN_X2,
    Degradation,
    DegradationRange,
    degrade_photo,
    draw_degradation,
)
from restora_calibration.folders import list_photos, read_pixels, rng_of
from restora_calibration.judges import USES, Use, share_photos
from restora_calibration.tile_kinds import KINDS, TileKind, kind_of

Pixels = NDArray[np.uint8]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SetPlan:
    """The tiles of a calibration set.

    tile: side of the tiles in pixels
    calibrating: number of tiles to find value ranges on
    searching: number of other tiles to compare layer assignments on
    judging: number of tiles to accept or refuse the result on, from other photos
    ranges: ranges of the blind degradation; None uses the photos without degradation
    keep_size: resize degraded photos to their original size, as for aligned faces
    seed: seed of all random choices
    """

    tile: int = 96
    calibrating: int = 40
    judging: int = 24
    searching: int = 24
    ranges: DegradationRange | None = None
    keep_size: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A photo.

    name: its name, which seeds the random choices for it
    pixels: uint8 RGB
    digest: SHA-256 of the pixels
    """

    name: str
    pixels: Pixels
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSet:
    """Tiles for each use, (n, side, side, 3) uint8 RGB, and their origin."""

    calibrating: Pixels
    searching: Pixels
    judging: Pixels
    manifest: dict[str, Any]

    @property
    def sha256(self) -> str:
        return str(self.manifest["sha256"])


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    photo: str
    version: int
    top: int
    left: int
    kind: TileKind
    pixels: Pixels


def read_sources(folder: Path, *, report: Report) -> list[Source]:
    """Read the photos of a folder. Photos that cannot be read are reported and skipped.

    Raises OptionError if no photo can be read.
    """
    found = [_try_read(path, report) for path in list_photos(folder)]
    sources = [source for source in found if source is not None]
    if not sources:
        raise OptionError(f"no photo in {folder} can be read")
    return sources


def _try_read(path: Path, report: Report) -> Source | None:
    try:
        return make_source(path.name, read_pixels(path))
    except ImageError as error:
        report(f"skipped {path.name}: {error}")
        return None


def bundled_sources() -> list[Source]:
    """The free photos for training, without the held-out ones."""
    from restora_calibration.photos import TRAINING, read_free_photo

    return [make_source(photo.name, read_free_photo(photo)) for photo in TRAINING]


def photo_tile_set(*, side: int = 64, count: int = 6) -> CalibrationSet:
    """A small set from the photo tiles of the exporter, without degradation."""
    from restora_export.photo_tiles import load_photo_tiles

    # one photo serves all three uses, tile by tile; each of these alone holds a tile or two
    photo = np.concatenate(list(load_photo_tiles()), axis=1)
    few = max(1, count // 2)
    plan = SetPlan(tile=side, calibrating=count, searching=few, judging=few)
    return make_calibration_set(
        [make_source("photo_tiles.png", photo)], plan, report=lambda _words: None
    )


def make_source(name: str, pixels: Pixels) -> Source:
    return Source(name, pixels, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest())


def make_calibration_set(sources: list[Source], plan: SetPlan, *, report: Report) -> CalibrationSet:
    """Degrade the photos, split them into tiles, and select tiles of all kinds from many photos.

    Tiles to judge come from photos of their own, if there are two or more (see share_photos).

    Raises OptionError if there are too few tiles, or if all tiles have a single color.
    """
    candidates: dict[str, list[_Candidate]] = {}
    photos = []
    for source in sources:
        versions = list(_degrade(source, plan))
        found = [
            candidate
            for number, (_, pixels) in enumerate(versions)
            for candidate in _cut(source.name, number, pixels, plan.tile)
        ]
        if not found:
            report(f"skipped {source.name}: degraded it is smaller than a tile of {plan.tile}")
        candidates[source.name] = found
        photos.append(
            {
                "name": source.name,
                "sha256": source.digest,
                "degradations": [_describe(how) for how, _ in versions],
                "tiles": len(found),
            }
        )
    kinds = {name: [tile.kind for tile in found] for name, found in candidates.items() if found}
    shares = share_photos(kinds, seed=plan.seed) if kinds else {}
    for photo in photos:
        photo["use"] = " and ".join(shares.get(str(photo["name"]), ("none",)))
    counts: dict[Use, int] = {
        "calibrate": plan.calibrating,
        "search": plan.searching,
        "judge": plan.judging,
    }
    chosen: dict[Use, list[_Candidate]] = {}
    for use in USES:
        # a photo with several uses gives every second or third tile to each of them
        given = [
            tile
            for name, uses in shares.items()
            if use in uses
            for tile in candidates[name][uses.index(use) :: len(uses)]
        ]
        chosen[use] = _choose(given, counts[use], plan.seed)
    _require_enough(chosen, plan, len(sources))
    tiles = {use: np.stack([tile.pixels for tile in chosen[use]]) for use in USES}
    digest = hashlib.sha256()
    for use in USES:
        digest.update(tiles[use].tobytes())
    manifest = {
        "tile": plan.tile,
        "seed": plan.seed,
        "ranges": None if plan.ranges is None else asdict(plan.ranges),
        "photos": photos,
        "tiles": [
            {"use": use, **{k: getattr(c, k) for k in ("photo", "version", "top", "left", "kind")}}
            for use in USES
            for c in chosen[use]
        ],
        "sha256": digest.hexdigest(),
    }
    return CalibrationSet(tiles["calibrate"], tiles["search"], tiles["judge"], manifest)


def describe_set(tiles: CalibrationSet) -> str:
    """Describe in one line how many tiles of each kind there are."""
    words = []
    for use in USES:
        kinds = [tile["kind"] for tile in tiles.manifest["tiles"] if tile["use"] == use]
        parts = [f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds]
        words.append(f"{len(kinds)} tiles to {use} ({', '.join(parts)})")
    return ", ".join(words)


def _degrade(source: Source, plan: SetPlan) -> Iterator[tuple[Degradation | None, Pixels]]:
    """The photo twice: degraded, and downsampled only."""
    if plan.ranges is None:
        yield None, source.pixels
        return
    rng = rng_of(plan.seed, source.name)
    for how in (draw_degradation(plan.ranges, rng), CLEAN_X2):
        degraded = degrade_photo(source.pixels, how, rng)
        if plan.keep_size:
            height, width = source.pixels.shape[:2]
            large = cv2.resize(degraded, (width, height), interpolation=cv2.INTER_CUBIC)
            degraded = np.asarray(large, np.uint8)
        yield how, degraded


def _describe(how: Degradation | None) -> dict[str, Any] | None:
    return None if how is None else {**asdict(how), "shrink_filter": how.shrink_filter.name}


def _cut(photo: str, version: int, pixels: Pixels, side: int) -> Iterator[_Candidate]:
    height, width = pixels.shape[:2]
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            tile = pixels[top : top + side, left : left + side]
            yield _Candidate(photo, version, top, left, kind_of(tile), tile)


def _choose(candidates: list[_Candidate], count: int, seed: int) -> list[_Candidate]:
    """Select tiles, alternating between kinds and, within a kind, between photos."""
    queues: list[Iterator[_Candidate]] = []
    for kind in KINDS:
        of_kind = [candidate for candidate in candidates if candidate.kind == kind]
        queues.append(_interleave(of_kind, seed))
    chosen: list[_Candidate] = []
    while queues and len(chosen) < count:
        for queue in list(queues):
            candidate = next(queue, None)
            if candidate is None:
                queues.remove(queue)
            elif len(chosen) < count:
                chosen.append(candidate)
    return chosen


def _interleave(candidates: Iterable[_Candidate], seed: int) -> Iterator[_Candidate]:
    by_photo: dict[str, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_photo[candidate.photo].append(candidate)
    for photo, mine in by_photo.items():
        rng_of(seed, photo).shuffle(mine)
    longest = max(map(len, by_photo.values()), default=0)
    for index in range(longest):
        for photo in sorted(by_photo):
            if index < len(by_photo[photo]):
                yield by_photo[photo][index]


def _require_enough(chosen: dict[Use, list[_Candidate]], plan: SetPlan, photos: int) -> None:
    for use, tiles in chosen.items():
        if not tiles:
            raise OptionError(
                f"{photos} photos give no tile of {plan.tile} pixels to {use}: give more or larger "
                "photos, or a smaller --tile"
            )
    every = [tile for tiles in chosen.values() for tile in tiles]
    if all(tile.pixels.min() == tile.pixels.max() for tile in every):
        raise OptionError("every tile has a single color: calibration needs other photos")

"""Make calibration and validation tiles from photos."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

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
from restora_calibration.folders import digest_of, list_photos, read_pixels, rng_of
from restora_calibration.tile_kinds import KINDS, TileKind, kind_of

Pixels = NDArray[np.uint8]
Use = Literal["calibrate", "judge"]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SetPlan:
    """The tiles of a calibration set.

    tile: side of the tiles in pixels
    calibrating: number of calibration tiles
    judging: number of validation tiles, which come from other photos
    ranges: ranges of the blind degradation; None uses the photos without degradation
    keep_size: resize degraded photos to their original size, as for aligned faces
    seed: seed of all random choices
    """

    tile: int = 96
    calibrating: int = 40
    judging: int = 24
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
    """Calibration and validation tiles, (n, side, side, 3) uint8 RGB, and their origin."""

    calibrating: Pixels
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

    sources = [make_source(f"{n}.png", tile) for n, tile in enumerate(load_photo_tiles())]
    plan = SetPlan(tile=side, calibrating=count, judging=max(1, count // 2))
    return make_calibration_set(sources, plan, report=lambda _words: None)


def make_source(name: str, pixels: Pixels) -> Source:
    return Source(name, pixels, hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest())


def make_calibration_set(sources: list[Source], plan: SetPlan, *, report: Report) -> CalibrationSet:
    """Degrade the photos, split them into tiles, and select tiles of all kinds from many photos.

    A quarter of the photos is reserved for validation; with a single photo, every other tile.

    Raises OptionError if there are too few tiles, or if all tiles have a single color.
    """
    uses = _share_out([source.name for source in sources], plan.seed)
    found: dict[Use, list[_Candidate]] = {"calibrate": [], "judge": []}
    photos = []
    for source in sources:
        versions = list(_degrade(source, plan))
        candidates = [
            candidate
            for number, (_, pixels) in enumerate(versions)
            for candidate in _cut(source.name, number, pixels, plan.tile)
        ]
        if not candidates:
            report(f"skipped {source.name}: degraded it is smaller than a tile of {plan.tile}")
        use = uses[source.name]
        if use is None:
            found["calibrate"] += candidates[::2]
            found["judge"] += candidates[1::2]
        else:
            found[use] += candidates
        photos.append(
            {
                "name": source.name,
                "sha256": source.digest,
                "use": use or "both, other tiles",
                "degradations": [_describe(how) for how, _ in versions],
                "tiles": len(candidates),
            }
        )
    counts: dict[Use, int] = {"calibrate": plan.calibrating, "judge": plan.judging}
    chosen = {use: _choose(found[use], counts[use], plan.seed) for use in found}
    _require_enough(chosen, plan, len(sources))
    tiles = {use: np.stack([tile.pixels for tile in chosen[use]]) for use in chosen}
    manifest = {
        "tile": plan.tile,
        "seed": plan.seed,
        "ranges": None if plan.ranges is None else asdict(plan.ranges),
        "photos": photos,
        "tiles": [
            {"use": use, **{k: getattr(c, k) for k in ("photo", "version", "top", "left", "kind")}}
            for use in chosen
            for c in chosen[use]
        ],
        "sha256": hashlib.sha256(
            tiles["calibrate"].tobytes() + tiles["judge"].tobytes()
        ).hexdigest(),
    }
    return CalibrationSet(tiles["calibrate"], tiles["judge"], manifest)


def describe_set(tiles: CalibrationSet) -> str:
    """Describe in one line how many tiles of each kind there are."""
    words = []
    for use in ("calibrate", "judge"):
        kinds = [tile["kind"] for tile in tiles.manifest["tiles"] if tile["use"] == use]
        parts = [f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds]
        words.append(f"{len(kinds)} tiles to {use} ({', '.join(parts)})")
    return ", ".join(words)


def _share_out(names: list[str], seed: int) -> dict[str, Use | None]:
    """Assign each photo to calibration or validation; None means both."""
    if len(names) == 1:
        return {names[0]: None}
    ranked = sorted(names, key=lambda name: digest_of(seed, name))
    judging = set(ranked[: max(1, len(names) // 4)])
    return {name: "judge" if name in judging else "calibrate" for name in names}


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

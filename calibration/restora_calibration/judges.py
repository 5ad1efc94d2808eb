"""Which photos judge 8 bits: they must be many, varied, and unknown to calibration and search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError
from restora_calibration.folders import digest_of
from restora_calibration.tile_kinds import KINDS, TileKind, kind_of

Pixels = NDArray[np.uint8]
Use = Literal["calibrate", "search", "judge"]
USES: tuple[Use, ...] = ("calibrate", "search", "judge")

# With 4 tiles, all of edges, an artifact of 35 dB passed for one of 41 dB.
MIN_TILES = 24
MIN_KINDS = 4
MIN_OF_KIND = 2


def share_photos(
    kinds: Mapping[str, Sequence[TileKind]], *, seed: int
) -> dict[str, tuple[Use, ...]]:
    """Assign each photo to its uses.

    kinds: the kinds of the tiles of each photo

    A quarter of the photos judges, and more, up to a half, while these are too few or too uniform.
    The tiles of the others serve calibration and search in turns, so that both see all kinds. With
    one photo, every third tile has the same use.
    """
    ranked = sorted(kinds, key=lambda name: digest_of(seed, name))
    if len(ranked) == 1:
        return {ranked[0]: USES}
    judging = ranked[: max(1, len(ranked) // 4)]
    others = ranked[len(judging) :]
    while len(judging) < len(ranked) // 2 and (
        missing := describe_missing([kind for name in judging for kind in kinds[name]])
    ):
        found = Counter(kind for name in judging for kind in kinds[name])
        rare = {kind for kind in KINDS if found[kind] < MIN_OF_KIND}
        wants_kinds = any("kind" in words for words in missing)
        chosen = next((name for name in others if wants_kinds and rare & {*kinds[name]}), others[0])
        others.remove(chosen)
        judging.append(chosen)
    return {name: ("judge",) if name in judging else ("calibrate", "search") for name in ranked}


def require_judges(judging: Pixels, known: Iterable[Pixels], *, min_kinds: int = MIN_KINDS) -> None:
    """Raise OptionError, with what is missing, unless the tiles suffice to accept 8 bits.

    judging: (n, side, side, 3) uint8 RGB
    known: the tiles that calibration and search use; such tiles, and repeated ones, do not count
    min_kinds: 1 for a network of faces, whose photos are all of one kind
    """
    seen = {tile.tobytes() for tiles in known for tile in tiles}
    unseen = {tile.tobytes(): tile for tile in judging}
    kinds = [kind_of(tile) for content, tile in unseen.items() if content not in seen]
    missing = describe_missing(kinds, min_kinds=min_kinds)
    if missing:
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
        raise OptionError(
            f"8 bits are accepted on at least {MIN_TILES} tiles of at least {min_kinds} kinds, "
            f"{MIN_OF_KIND} of each, which calibration and search have not seen; the photos give "
            f"{len(kinds)} ({counts or 'none'}): {' and '.join(missing)} are missing; give more "
            "and more varied photos, or a smaller --tile"
        )


def describe_missing(kinds: Sequence[TileKind], *, min_kinds: int = MIN_KINDS) -> list[str]:
    """How many tiles and kinds are missing, and which kinds would do; empty if nothing is."""
    missing = []
    if len(kinds) < MIN_TILES:
        missing.append(f"{MIN_TILES - len(kinds)} tiles")
    counts = Counter(kinds)
    rare = [kind for kind in KINDS if counts[kind] < MIN_OF_KIND]
    too_few = min_kinds - (len(KINDS) - len(rare))
    if too_few > 0:
        missing.append(f"{too_few} kinds (of {', '.join(rare)})")
    return missing

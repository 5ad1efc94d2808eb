"""Repair the damage of a photo."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from restora.damage.mask import (
    Box,
    Mask,
    count_regions,
    decide_mask,
    keep_thin,
    read_mask,
    require_size,
    spare_faces,
)
from restora.damage.networks import DamageFinder, PhotoRepairer
from restora.damage.options import DamageOptions
from restora.errors import OptionError
from restora.image import Photo

logger = logging.getLogger(__name__)

FindFaces = Callable[[Photo], Sequence[Box]]


@dataclass(frozen=True, slots=True, eq=False)
class DamageOutcome:
    """What was repaired in one photo.

    status: "repaired"; "clean": there is no damage; "refused": there is too much of it, and nothing
        was repaired
    size: height and width of the photo
    share: of the photo that is damaged, 0..1
    pixels, regions: that were repaired
    faces_left: faces with too much damage, which are left to the face network
    reason: why nothing was repaired
    mask: the pixels that were repaired, or were found if nothing was, (height, width)
    seconds: of finding and of repairing
    """

    status: Literal["repaired", "clean", "refused"]
    size: tuple[int, int]
    share: float
    pixels: int = 0
    regions: int = 0
    faces_left: int = 0
    reason: str | None = None
    mask: Mask | None = field(default=None, repr=False)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """As a JSON object, without the mask."""
        row: dict[str, Any] = {
            "status": self.status,
            "share": round(self.share, 6),
            "pixels": self.pixels,
            "regions": self.regions,
            "faces_left": self.faces_left,
        }
        return row if self.reason is None else {**row, "reason": self.reason}


class DamageStage:
    """Finds damage and repairs it. It can be called from several threads.

    finder: None if options.find is "off"
    """

    def __init__(
        self, finder: DamageFinder | None, repairer: PhotoRepairer, options: DamageOptions
    ) -> None:
        self.finder = finder
        self.repairer = repairer
        self.options = options
        self.drawn = None if options.mask is None else read_mask(options.mask)

    def with_options(self, options: DamageOptions) -> DamageStage:
        """The same networks with other options. Raises OptionError for other networks, and if
        damage is looked for without an open detector."""
        for name in ("detector", "repairer"):
            ours, theirs = getattr(self.options, name), getattr(options, name)
            if ours != theirs:
                raise OptionError(f"the open damage {name} is {ours!r}, got {theirs!r}")
        if options.find != "off" and self.finder is None:
            raise OptionError("the damage detector is not open: open it with find='all'")
        return DamageStage(None if options.find == "off" else self.finder, self.repairer, options)

    def repair(
        self,
        photo: Photo,
        *,
        find_faces: FindFaces | None = None,
        check: Callable[[], None] | None = None,
    ) -> tuple[Photo, DamageOutcome]:
        """The repaired photo, or the photo itself if nothing is repaired.

        find_faces: the boxes of the faces of a photo; called only if there is damage
        check: called between tiles; what it raises ends this

        Raises ShapeError for a mask of another size, and what the networks raise.
        """
        started = time.perf_counter()
        mask, spared = self._find(photo, find_faces, check)
        seconds = {"find": time.perf_counter() - started}
        size = (photo.height, photo.width)
        share, most = float(mask.mean()), self.options.max_share
        if not mask.any():
            return photo, DamageOutcome("clean", size, 0.0, faces_left=spared, seconds=seconds)
        if share > most:
            reason = (
                f"{share:.0%} of the photo is damaged, more than {most:.0%} is not repaired "
                "(max_share, --damage-share)"
            )
            logger.warning("%s", reason)
            return photo, DamageOutcome(
                "refused", size, share, faces_left=spared, reason=reason, mask=mask, seconds=seconds
            )
        started = time.perf_counter()
        repaired = self.repairer.repair(photo, mask, hidden=self.drawn, check=check)
        seconds["repair"] = time.perf_counter() - started
        return repaired, DamageOutcome(
            "repaired",
            size,
            share,
            int(mask.sum()),
            count_regions(mask),
            spared,
            mask=mask,
            seconds=seconds,
        )

    def _find(
        self, photo: Photo, find_faces: FindFaces | None, check: Callable[[], None] | None
    ) -> tuple[Mask, int]:
        """The mask, and how many faces were taken out of it."""
        mask: Mask = np.zeros((photo.height, photo.width), np.bool_)
        spared = 0
        if self.drawn is not None:
            require_size(self.drawn, photo)
        if self.finder is not None:
            mask = decide_mask(self.finder.find(photo, check=check), self.options.threshold)
            if self.options.find == "scratches":
                mask = keep_thin(mask)
            if photo.alpha is not None:  # what cannot be seen is not damaged
                mask &= photo.alpha > 0
            if find_faces is not None and mask.any():
                mask, spared = spare_faces(mask, find_faces(photo), self.options.max_face_share)
        return (mask if self.drawn is None else mask | self.drawn), spared

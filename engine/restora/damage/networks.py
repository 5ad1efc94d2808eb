"""The two networks of the stage, on whole photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.artifact.tensors import HIDDEN_LEVEL, SEEN_LEVEL
from restora.backends import Session
from restora.damage.deep import find_deep, repair_deep
from restora.damage.mask import Mask, Plane, keep_thin
from restora.damage.scales import join_sizes, reduce_photo
from restora.damage.tiles import Index, compute_tiles
from restora.errors import OptionError
from restora.image import Photo

Check = Callable[[], None] | None

_ALONG, _BACK = slice(None), slice(None, None, -1)
_MIRRORED = ((_ALONG, _ALONG), (_ALONG, _BACK), (_BACK, _ALONG), (_BACK, _BACK))


class DamageFinder:
    """Finds damage with an artifact of kind "damage-detector".

    A photo is processed at its own size and, unless it is small, at a reduced one; each tile eight
    times, turned and mirrored. The means count: a false detection rarely appears in all.
    """

    def __init__(self, session: Session) -> None:
        _require(session, "damage-detector")
        self.session = session

    def find(self, photo: Photo, *, check: Check = None) -> Plane:
        """The probability of damage, 0..255, (height, width)."""
        near = self._find(photo, check)
        reduced = reduce_photo(photo)
        return near if reduced is None else join_sizes(near, self._find(reduced, check))

    def _find(self, photo: Photo, check: Check) -> Plane:
        def compute(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            total = np.full((*pixels.shape[:2], 1), len(_MIRRORED), np.uint16)  # rounds
            for mirrored in _MIRRORED:
                seen, sums = pixels[mirrored], total[mirrored]
                sums += self._look(seen)
                sums += self._look(seen.transpose(1, 0, 2)).transpose(1, 0, 2)
            return (total // (2 * len(_MIRRORED))).astype(np.uint8)

        found = compute_tiles(
            photo.height,
            photo.width,
            lambda rows, columns: cut_color(photo, rows, columns),
            compute,
            session=self.session,
            check=check,
        )
        return found[..., 0]

    def _look(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(self.session.run(np.ascontiguousarray(pixels)[None])[0], np.uint8)


class PhotoRepairer:
    """Repaints pixels with an artifact of kind "repairer"."""

    def __init__(self, session: Session) -> None:
        _require(session, "repairer")
        self.session = session

    def repair(
        self, photo: Photo, mask: Mask, *, hidden: Mask | None = None, check: Check = None
    ) -> Photo:
        """The photo with the pixels of the mask repainted. All others stay as they are, bit for
        bit; so does transparency.

        mask: (height, width)
        hidden: pixels of the mask whose present color does not count, as if they were cut out

        New pixels have 8 bits, also in photos of 16; those far from everything undamaged, which are
        repaired at a reduced size first, keep what shines through in 16.
        """
        deep = find_deep(mask)
        if deep is None:
            return self._repaint(photo, mask, hidden, check)
        # what is wide is often transparent, such as stains; what is thin seldom is
        opaque = keep_thin(mask) if hidden is None else keep_thin(mask) | hidden

        def repaint(small: Photo, mask: Mask, opaque: Mask) -> Photo:
            return self._repaint(small, mask, opaque, check, thin=False)

        filled = repair_deep(photo, mask, opaque & mask, deep, repaint)
        pixels = self._repaint(filled, mask & ~deep.mask, hidden, check).pixels
        return replace(photo, pixels=pixels)

    def _repaint(
        self, photo: Photo, mask: Mask, hidden: Mask | None, check: Check, *, thin: bool = True
    ) -> Photo:
        """thin: the color of what is thin does not count"""

        def cut(rows: Index, columns: Index) -> NDArray[np.uint8]:
            color = cut_color(photo, rows, columns)
            tile = np.ix_(rows, columns)
            damaged = mask[tile]
            opaque = keep_thin(damaged) if thin else np.zeros_like(damaged)
            opaque = opaque if hidden is None else opaque | hidden[tile]
            levels = np.where(opaque, HIDDEN_LEVEL, SEEN_LEVEL).astype(np.uint8) * damaged
            return np.concatenate((color, levels[..., None]), 2)

        def compute(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if not pixels[..., 3].any():
                return pixels[..., :3]
            return np.asarray(self.session.run(pixels[None])[0], np.uint8)

        made = compute_tiles(
            photo.height, photo.width, cut, compute, session=self.session, check=check
        )
        new = made[mask]
        if photo.is_gray:
            new = np.asarray(cv2.cvtColor(new[None], cv2.COLOR_RGB2GRAY)[0], np.uint8)
        pixels = photo.pixels.copy()
        pixels[mask] = new if pixels.dtype == np.uint8 else new.astype(np.uint16) * 257
        return replace(photo, pixels=pixels)


def cut_color(photo: Photo, rows: Index, columns: Index) -> NDArray[np.uint8]:
    """A part of a photo as uint8 RGB."""
    part = photo.pixels[np.ix_(rows, columns)]
    eight = np.asarray(part if part.dtype == np.uint8 else part // 257, np.uint8)
    return np.repeat(eight[..., None], 3, 2) if eight.ndim == 2 else eight


def _require(session: Session, kind: str) -> None:
    if session.info.kind != kind:
        raise OptionError(f"{session.info.model} is a {session.info.kind}, not a {kind}")

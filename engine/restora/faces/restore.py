"""Restore aligned faces in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from restora.backends.base import Session
from restora.errors import (
    DeviceLostError,
    NonFiniteOutputError,
    OptionError,
    RestoraError,
    SessionError,
    ShapeError,
)
from restora.image.photo import Pixels


class FaceRestorer:
    """Restores aligned faces with one session.

    session: a session of a face artifact; with the io "float32" it accepts 16-bit faces
    batch: the largest batch of faces
    strength: blend weight from 0 (the original face) to 1 (the restored face)
    """

    def __init__(self, session: Session, *, batch: int = 8, strength: float = 1.0) -> None:
        if session.info.kind != "face":
            raise OptionError(f"{session.info.model} is a {session.info.kind}, not a face restorer")
        if not 0 <= strength <= 1:
            raise OptionError(f"the face strength must be in 0..1, got {strength}")
        if batch < 1:
            raise OptionError(f"the batch of faces must be at least 1, got {batch}")
        self.session = session
        self.batch = batch
        self.strength = strength

    @property
    def side(self) -> int:
        """Height and width of the aligned faces, in pixels."""
        assert self.session.info.side is not None
        return self.session.info.side

    def restore(
        self, crops: Sequence[Pixels], *, check: Callable[[], None] | None = None
    ) -> list[Pixels | RestoraError]:
        """Restore faces. Returns the results in order, with an error for each face that failed.

        crops: RGB, (side, side, 3), all of the same dtype: uint8, or uint16 for a float32 session
        check: called before each batch; what it raises ends this

        If one face of a batch fails, the faces of the batch run again one by one. Raises ShapeError
        for crops of another shape or dtype.
        """
        for crop in crops:
            self._check(crop)
        results: list[Pixels | RestoraError] = []
        for start in range(0, len(crops), self.batch):
            if check is not None:
                check()
            together = crops[start : start + self.batch]
            try:
                results += self._run(together)
            except DeviceLostError:
                raise
            except (NonFiniteOutputError, SessionError) as error:
                results += [error] if len(together) == 1 else map(self._try_one, together)
        return results

    def _try_one(self, crop: Pixels) -> Pixels | RestoraError:
        try:
            return self._run([crop])[0]
        except DeviceLostError:
            raise
        except (NonFiniteOutputError, SessionError) as error:
            return error

    def _run(self, crops: Sequence[Pixels]) -> list[Pixels]:
        stacked = np.stack(crops)
        white = np.float32(np.iinfo(stacked.dtype).max)
        if self.session.info.io == "float32":
            restored = self.session.run(stacked.astype(np.float32) / white)
        else:
            restored = self.session.run(stacked.astype(np.uint8, copy=False))
        if self.strength == 1 and restored.dtype == stacked.dtype:
            return list(restored)
        level = restored.astype(np.float32)
        if self.session.info.io == "float32":
            level = level * white
        mixed = stacked + np.float32(self.strength) * (level - stacked)
        return list(np.rint(np.clip(mixed, 0, white)).astype(stacked.dtype))

    def _check(self, crop: Pixels) -> None:
        shape = (self.side, self.side, 3)
        if crop.shape != shape:
            raise ShapeError(f"an aligned face must have shape {shape}, got {crop.shape}")
        if crop.dtype == np.uint16 and self.session.info.io == "uint8":
            raise ShapeError(
                f"{self.session.info.model} is an 8-bit artifact and the face has 16 bits: use "
                "the float32 artifact (`restora export --io float32`)"
            )

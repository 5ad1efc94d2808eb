"""Gray pictures of 8 bits through a network for float32 pictures: rounded once, at the end.

A network for uint8 pictures rounds each color, and the gray level made of rounded colors is another
one, by one level, in a fifth of all values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restora.backends.base import Batch, Session
from restora.backends.shell import SessionShell
from restora.errors import SessionError

# Rec. 601 luma, as OpenCV's RGB2GRAY
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
_WHITE = np.float32(255)


class GraySession(SessionShell):
    """A session on one channel.

    session: of an upsampler for float32 pictures; closed by its owner
    """

    def __init__(self, session: Session) -> None:
        if session.info.io != "float32":
            raise SessionError(
                f"gray pictures need a network for float32 pictures, {session.info.model} takes "
                f"{session.info.io}"
            )
        super().__init__(session.info, session.limits)
        self._session = session

    def run(self, batch: Batch) -> Batch:
        """(batch, height, width, 1) uint8 to (batch, scale * height, scale * width, 1) uint8."""
        level = batch.astype(np.float32) / _WHITE
        restored = self._session.run(np.repeat(level, 3, axis=3))
        gray: NDArray[np.float32] = restored @ GRAY_WEIGHTS
        rounded: NDArray[np.uint8] = np.rint(np.clip(gray, 0, 1) * _WHITE).astype(np.uint8)
        return rounded[..., None]

    def close(self) -> None:
        """Do nothing: the session belongs to someone else."""

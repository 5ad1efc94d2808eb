"""What a run leaves to look at: figures and sample pictures, as files and for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.atomic import write_atomically
from restora.errors import MissingBackendError
from restora_training.run.log import Log

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SAMPLES_FOLDER = "samples"
TENSORBOARD_FOLDER = "tensorboard"

Pixels = NDArray[np.uint8]


class Records:
    """The records of one run; use it as a context manager.

    folder: gets log.csv, samples/ and, if asked for, tensorboard/
    done: steps so far; what a killed run recorded of later ones is removed

    Raises MissingBackendError if TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, done: int, tensorboard: bool) -> None:
        self.folder = folder
        self._log = Log(folder, done=done)
        self._board = _open_board(folder / TENSORBOARD_FOLDER, done) if tensorboard else None

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.close()

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Record figures of a step."""
        self._log.add({"step": step, **figures})
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def add_samples(self, step: int, rows: Sequence[Pixels]) -> None:
        """Write pictures of one width below each other.

        rows: uint8 RGB, (height, width, 3)
        """
        write_sheet(self.folder / SAMPLES_FOLDER / f"step-{step:07d}.png", rows)
        if self._board is not None:
            sheet = np.concatenate(list(rows), 0)
            self._board.add_image("samples", sheet, step, dataformats="HWC")


def write_sheet(path: Path, rows: Sequence[Pixels]) -> None:
    """Write pictures of one width below each other, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate(list(rows), 0)
    written, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert written
    write_atomically(path, data.tobytes())


def _open_board(folder: Path, done: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingBackendError(
            f"run.tensorboard needs pip install 'restora[tensorboard]' ({error})"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1)

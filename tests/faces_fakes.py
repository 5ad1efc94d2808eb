"""Detectors and face networks whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fakes import make_info
from restora.backends.base import Batch, limits_of
from restora.errors import NonFiniteOutputError
from restora.faces import Face, FaceRestorer
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage

ASTRONAUT = np.array(
    [[202.5, 101.3], [246.2, 103.2], [225.0, 127.5], [204.0, 140.6], [244.0, 141.6]]
)


class FaceSession:
    """A face network in NumPy. answer maps a batch in 0..1 to another."""

    def __init__(
        self,
        answer: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda x: 1 - x,
        *,
        side: int = 512,
        io: str = "uint8",
    ) -> None:
        self.info = make_info(kind="face", scale=1, size_multiple=1, side=side, io=io)
        self.limits = limits_of(self.info)
        self.answer = answer
        self.batches: list[int] = []

    def run(self, batch: Batch) -> Batch:
        self.batches.append(len(batch))
        white = 255.0 if batch.dtype == np.uint8 else 1.0
        result = self.answer(batch / white)
        if not np.isfinite(result).all():
            raise NonFiniteOutputError("the fake put out NaN")
        result = np.clip(result, 0, 1) * white
        return np.rint(result).astype(np.uint8) if white == 255 else result.astype(np.float32)

    def close(self) -> None:
        pass


class LabelSession:
    """A parser that gives every face the same labels."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.labels = labels
        self.info = make_info(kind="parser", scale=1, size_multiple=1, side=labels.shape[0])
        self.limits = limits_of(self.info)

    def run(self, batch: Batch) -> Batch:
        return np.repeat(self.labels[None, ..., None], len(batch), 0)

    def close(self) -> None:
        pass


class FixedDetector:
    """Finds what it is given."""

    name = "fixed"

    def __init__(self, landmarks: Sequence[NDArray[np.floating]], score: float = 0.99) -> None:
        self.faces = [face_of(points, score) for points in landmarks]
        self.seen: list[tuple[int, ...]] = []

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        assert pixels.dtype == np.uint8
        self.seen.append(pixels.shape)
        return self.faces

    def close(self) -> None:
        pass


def face_of(landmarks: NDArray[np.floating], score: float = 0.99) -> Face:
    points = np.asarray(landmarks, np.float64)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return Face((float(left), float(top), float(right), float(bottom)), score, points)


def stage_of(
    landmarks: Sequence[NDArray[np.floating]],
    session: FaceSession | None = None,
    **options: object,
) -> FaceStage:
    """A stage that finds faces at `landmarks` and restores them with a fake."""
    chosen = FaceOptions(**options)  # type: ignore[arg-type]
    session = session or FaceSession()
    restorer = FaceRestorer(session, batch=chosen.batch, strength=chosen.strength)
    return FaceStage(FixedDetector(landmarks), lambda _io: restorer, options=chosen)

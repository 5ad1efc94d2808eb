"""Restore every degraded photo by a pipeline and measure it against its clean partner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from restora import Photo, Restorer
from restora.errors import OptionError, RestoraError
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora_benchmarks.evaluate.metrics import Metric
from restora_benchmarks.evaluate.pairs import Pair, resize

Pixels = NDArray[np.uint8]
Pipeline = Literal["none", "faces", "upsampler", "faces+upsampler"]
PIPELINES: tuple[Pipeline, ...] = ("none", "faces", "upsampler", "faces+upsampler")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one pipeline over all photos. failed: name and reason of those left out."""

    pipeline: Pipeline
    photos: int
    figures: dict[str, float]
    failed: tuple[tuple[str, str], ...]

    def as_row(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "photos": self.photos,
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
            "failed": [list(entry) for entry in self.failed],
        }


class PipelineRun:
    """One pipeline, its models loaded.

    "none"             nothing: what the degradation costs
    "upsampler"        the photo enlarged
    "faces"            aligned: the face network's picture; else its faces pasted into the photo
    "faces+upsampler"  aligned: the face network's picture, enlarged; else the whole flow

    model    of the upsampler
    faces    of the face stage
    aligned  photos are aligned faces
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        model: str,
        faces: FaceOptions,
        options: RestoreOptions,
        aligned: bool,
    ) -> None:
        self.pipeline = pipeline
        self._restorers: list[Restorer] = []

        def open_(name: str | None, *, with_faces: bool) -> Restorer:
            chosen = faces if with_faces else None
            restorer = Restorer(name, options=options, faces=chosen)
            self._restorers.append(restorer)
            return restorer

        self._first: Callable[[Photo], Photo] | None = None
        self._second: Callable[[Photo], Photo] | None = None
        if pipeline == "none":
            return
        if aligned and "faces" in pipeline:
            face = open_(None, with_faces=True)
            self._first = lambda photo: face.restore_aligned(photo).photo
            if pipeline == "faces+upsampler":
                enlarger = open_(model, with_faces=False)
                self._second = lambda photo: enlarger.restore(photo).photo
            return
        name = model if "upsampler" in pipeline else None
        whole = open_(name, with_faces="faces" in pipeline)
        outscale = None if name is not None else 1.0
        self._first = lambda photo: whole.restore(photo, outscale=outscale).photo

    def restore(self, pixels: Pixels) -> Pixels:
        """uint8 RGB to uint8 RGB, of any size."""
        photo = Photo(pixels)
        for step in (self._first, self._second):
            if step is not None:
                photo = step(photo)
        return np.asarray(photo.pixels, np.uint8)

    def close(self) -> None:
        for restorer in self._restorers:
            restorer.close()


def evaluate(
    pairs: Iterable[Pair],
    restore: Callable[[Pixels], Pixels],
    metrics: Sequence[Metric],
    *,
    pipeline: Pipeline,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Results are brought to the clean photo's size before they are measured. A photo that cannot
    be restored is named and counts nowhere else."""
    failed: list[tuple[str, str]] = []
    count = 0
    for pair in pairs:
        try:
            restored = resize(restore(pair.degraded), pair.clean.shape[:2])
        except RestoraError as error:
            failed.append((pair.name, str(error)))
            continue
        for metric in metrics:
            metric.add(pair.clean, restored)
        count += 1
        if progress is not None:
            progress(pair.name)
    if not count:
        raise OptionError(f"not one of {len(failed)} photos could be restored: {failed[0][1]}")
    figures = {metric.name: metric.figure() for metric in metrics}
    return Evaluation(pipeline, count, figures, tuple(failed))

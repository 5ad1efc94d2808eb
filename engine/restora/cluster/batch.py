"""RestoreBatch: batches of paths in, batches of rows out, never an exception for a bad photo."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restora.errors import DeviceLostError, RestoraError
from restora.image import PixelLimits, read_photo, write_photo
from restora.joint import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.runs.resume import digest_of_file

Columns = dict[str, list[Any]]
COLUMNS = (
    "input", "output", "status", "error_type", "reason", "width", "height", "faces", "sha256", "ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatchRecipe:
    """How photos are restored. Can be pickled and sent to any machine that has the model.

    model  a name of the model table or the path of an artefact; None: faces only
    root   a folder that results must lie in; None: anywhere
    """

    model: str | None = DEFAULT_MODEL
    options: RestoreOptions = field(default_factory=RestoreOptions)
    faces: FaceOptions | None = None
    outscale: float | None = None
    quality: int = 95
    strip_metadata: bool = False
    max_pixels: int = PixelLimits().max_pixels
    root: str | None = None


class RestoreBatch:
    """Call it with columns "input" and "output" (paths); it gives a row for each input, in order.

    The networks are opened at the first call, once in each process. A photo that cannot be read,
    restored or written becomes a row with status "failed", the error's type and its words. What is
    no photo's fault is raised: a model that cannot be opened, a lost GPU.
    """

    def __init__(self, recipe: BatchRecipe) -> None:
        self.recipe = recipe
        self._restorer: Restorer | None = None

    def __call__(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        restorer = self._open()
        rows = [
            self._restore(restorer, str(source), str(target))
            for source, target in zip(batch["input"], batch["output"], strict=True)
        ]
        return {name: [row[name] for row in rows] for name in COLUMNS}

    def close(self) -> None:
        """Free the networks; the next call opens them again."""
        if self._restorer is not None:
            self._restorer.close()
            self._restorer = None

    def __getstate__(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "_restorer": None}

    def _open(self) -> Restorer:
        if self._restorer is None:
            recipe = self.recipe
            self._restorer = Restorer(recipe.model, options=recipe.options, faces=recipe.faces)
        return self._restorer

    def _restore(self, restorer: Restorer, source: str, target: str) -> dict[str, Any]:
        row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "input": source, "output": target}
        started = time.perf_counter()
        recipe, path = self.recipe, Path(target)
        try:
            photo = read_photo(Path(source), limits=PixelLimits(max_pixels=recipe.max_pixels))
            result = restorer.restore(photo, outscale=recipe.outscale)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_photo(
                result.photo,
                path,
                quality=recipe.quality,
                strip_metadata=recipe.strip_metadata,
                inside=None if recipe.root is None else Path(recipe.root),
            )
        except DeviceLostError:
            raise
        except (RestoraError, OSError, MemoryError) as error:
            words = str(error) or type(error).__name__
            return {**row, "status": "failed", "error_type": type(error).__name__, "reason": words}
        return {
            **row,
            "status": "restored",
            "width": result.photo.width,
            "height": result.photo.height,
            "faces": sum(face.status == "restored" for face in result.faces),
            "sha256": digest_of_file(path),
            "ms": round(1000 * (time.perf_counter() - started)),
        }

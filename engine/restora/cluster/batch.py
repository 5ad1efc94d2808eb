"""RestoreBatch: restores batches of paths and returns rows, never an exception for a bad photo."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restora.cluster.rows import COLUMNS, Columns, Row, row_of
from restora.damage import DamageOptions
from restora.errors import DecoderProcessError, DeviceLostError, RestoraError
from restora.faces.options import FaceOptions
from restora.image import PhotoLimits
from restora.jobs.memory import PhotoMemory
from restora.jobs.output import WriteOptions
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer

# errors after which no photo can be restored
_FATAL: Mapping[str, type[RestoraError]] = {
    kind.__name__: kind for kind in (DeviceLostError, DecoderProcessError)
}


@dataclass(frozen=True, slots=True)
class BatchRecipe:
    """How photos are restored. It can be pickled and sent to any machine that has the model.

    model: a name of the model table or the path of an artifact; None: faces only
    damage: how damage is repaired; paths in it are those of the machine that restores
    root: a folder that results must lie in; None: anywhere
    limits: of inputs
    memory: limit of the whole process in bytes; None: its share of half of what is free
    processes: workers on one machine, which share its free memory
    """

    model: str | None = DEFAULT_MODEL
    options: RestoreOptions = field(default_factory=RestoreOptions)
    faces: FaceOptions | None = None
    damage: DamageOptions | None = None
    outscale: float | None = None
    quality: int = 95
    strip_metadata: bool = False
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    root: str | None = None
    memory: int | None = None
    processes: int = 1


@dataclass(frozen=True, slots=True)
class _Photo:
    index: int
    source: Path
    target: Path
    alone: bool = False


class RestoreBatch:
    """Call it with the columns "input" and "output" (paths); it returns one row per input, in
    order.

    The networks are opened at the first call, once in each process. Photos are decoded and encoded
    while the networks run on others of the batch, and share batches of tiles and faces. A photo
    that cannot be read, restored or written becomes a row with status "failed", the type of the
    error and its message. Errors that are no photo's fault are raised: a model that cannot be
    opened, a lost GPU.
    """

    def __init__(self, recipe: BatchRecipe) -> None:
        self.recipe = recipe

    def __call__(self, batch: Mapping[str, Sequence[str] | np.ndarray[Any, Any]]) -> Columns:
        pairs = [
            (str(source), str(target))
            for source, target in zip(batch["input"], batch["output"], strict=True)
        ]
        rows = dict(self.iter_rows(pairs))
        return {name: [rows[index][name] for index in range(len(pairs))] for name in COLUMNS}

    def iter_rows(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Row]]:
        """Yield the index of each (input, output) with its row, as photos are finished."""
        restorer, recipe = _open(self.recipe), self.recipe
        root = None if recipe.root is None else Path(recipe.root)
        flow: PhotoFlow[_Photo] = PhotoFlow(
            restorer,
            Stages.around(restorer),
            WriteOptions(root, recipe.quality, recipe.strip_metadata),
            PhotoMemory(restorer, recipe.memory, recipe.processes),
            outscale=recipe.outscale,
            limits=recipe.limits,
            begin=lambda photo: self.begin(str(photo.source)),
        )
        photos = [
            _Photo(index, Path(source), Path(target))
            for index, (source, target) in enumerate(pairs)
        ]
        with contextlib.closing(flow.iter_outcomes(photos)) as outcomes:
            for photo, outcome in outcomes:
                fatal = _FATAL.get(outcome.error_type or "")
                if fatal is not None:
                    raise fatal(outcome.reason)
                yield photo.index, row_of(*pairs[photo.index], outcome)

    def begin(self, source: str) -> None:
        """Called before a photo's file is read, from several threads; for subclasses."""

    def close(self) -> None:
        """Free the networks of this process; the next call opens them again."""
        with _opening:
            restorer = _open_restorers.pop(pickle.dumps(self.recipe), None)
        if restorer is not None:
            restorer.close()


# of this process, by recipe: a RestoreBatch that is unpickled for every batch opens none again
_open_restorers: dict[bytes, Restorer] = {}
_opening = threading.Lock()


def _open(recipe: BatchRecipe) -> Restorer:
    key = pickle.dumps(recipe)
    with _opening:
        if key not in _open_restorers:
            _open_restorers[key] = Restorer(
                recipe.model, options=recipe.options, faces=recipe.faces, damage=recipe.damage
            )
        return _open_restorers[key]

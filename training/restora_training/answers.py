"""Ask a teacher: degrade patches of photos, and keep its answers in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from restora import Restorer
from restora.atomic import write_atomically
from restora.errors import OptionError
from restora_training.data.pairs import Pair, pair_path, write_pair
from restora_training.data.photos import PhotoSet, open_photos
from restora_training.data.samples import PatchMaker, SampleMaker, source_side
from restora_training.recipe_parts import DegradationPart
from restora_training.run.validate import picture_of

_QUESTIONS_FILE = "questions.json"
_MAX_BROKEN = 0.2  # share of the photos that cannot be used, most of which are too small


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """How to distill.

    student: as student_recipe takes it
    photos: folder of clean photos; None uses the free photos of installed packages
    degradation: of what the teacher is asked
    jitter, shrink: random colors of the photos, and sizes that they are also used at
    pairs: how many answers to collect; held_out of them, which show other photos than the rest, are
        kept to compare with
    held_out_photos: how many of the photos are kept for them
    held_out_folder: folder of photos for them, instead
    side: of the degraded pictures, in pixels; larger where a patch needs it
    truth: weight of L1 to the clean photos, besides L1 to the answers
    steps, patch, batch, precision: of the training; patch is the side of the clean patches
    """

    student: str = "srvgg-16x64"
    photos: Path | None = None
    degradation: DegradationPart = field(default_factory=DegradationPart)
    jitter: bool = True
    shrink: tuple[float, ...] = (1.0, 0.7, 0.5)
    pairs: int = 1000
    held_out: int = 16
    held_out_photos: int = 3
    held_out_folder: Path | None = None
    side: int = 96
    steps: int = 20000
    patch: int = 192
    batch: int = 16
    precision: Literal["fp32", "bf16"] = "fp32"
    truth: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs <= self.held_out:
            raise OptionError(
                f"pairs must be more than the {self.held_out} that are held out, got {self.pairs}"
            )


def collect_answers(
    restorer: Restorer,
    folder: Path,
    options: DistillOptions,
    report: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool],
) -> None:
    """Degrade patches of photos and keep the teacher's answers; those that exist are kept."""
    scale = restorer.scale
    side = max(options.side, options.patch // scale)
    training, others = _open_photos(options, smallest=source_side(side * scale, scale))
    makers = [
        PatchMaker(
            photos.without_window(),
            options.degradation,
            scale=scale,
            patch=side * scale,
            seed=options.seed,
            rotate=True,
            jitter=options.jitter,
            shrink=options.shrink,
        )
        for photos in (others, training)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _require_same_questions(folder, restorer, options, side)
    for number in range(options.pairs):
        if should_stop():
            return
        if not pair_path(folder, number).exists():
            maker = makers[number >= options.held_out]
            write_pair(folder, number, make_pair(restorer, maker, number))
        if report is not None:
            report(number + 1, options.pairs)


def _open_photos(options: DistillOptions, *, smallest: int) -> tuple[PhotoSet, PhotoSet]:
    folder = options.held_out_folder
    kept = options.held_out_photos if options.held_out and folder is None else 0
    training, others = open_photos(
        options.photos, held_out=kept, smallest=smallest, max_broken=_MAX_BROKEN
    )
    if folder is not None:
        others, _ = open_photos(folder, held_out=0, smallest=smallest, max_broken=_MAX_BROKEN)
    return training, others


def make_pair(restorer: Restorer, maker: SampleMaker, number: int) -> Pair:
    """A degraded patch, the teacher's answer, and the clean patch.

    number: of the sample
    """
    sample = maker.make(0, number)
    degraded = picture_of(sample.degraded, is_face=False)
    answer = np.asarray(restorer.restore(degraded).photo.pixels, np.uint8)
    return Pair(degraded, answer, picture_of(sample.clean, is_face=False))


def _require_same_questions(
    folder: Path, restorer: Restorer, options: DistillOptions, side: int
) -> None:
    """Raise OptionError if the folder holds answers of another teacher, or to other questions."""
    asked = {
        "teacher": restorer.output_settings(),
        "photos": None if options.photos is None else str(options.photos.resolve()),
        "degradation": options.degradation.model_dump(),
        "side": side,
        "held_out": [options.held_out, _held_out_photos(options)],
        "jitter": options.jitter,
        "shrink": options.shrink,
        "seed": options.seed,
    }
    text = json.dumps(asked, indent=1, default=str)
    path = folder / _QUESTIONS_FILE
    if not path.exists():
        write_atomically(path, text.encode())
    elif _read_questions(path) != json.loads(text):
        raise OptionError(
            f"{folder} holds answers of another teacher, or to other photos, degradations, sizes "
            f"or numbers of held-out pairs (see {path.name}): give another folder"
        )


def _held_out_photos(options: DistillOptions) -> int | str:
    folder = options.held_out_folder
    return options.held_out_photos if folder is None else str(folder.resolve())


def _read_questions(path: Path) -> Any:
    """What a folder of answers was asked; None if the file cannot be understood."""
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
        # an earlier version knew fewer keys, and had what are now their defaults
        part = DegradationPart.model_validate(asked["degradation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked | {"degradation": part.model_dump(mode="json")}

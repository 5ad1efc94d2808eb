"""Fit a small network to the answers of a large one, export it, and compare the two."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restora import Restorer
from restora.atomic import write_atomically
from restora.errors import OptionError
from restora.models.resolve import artifact_finder
from restora.options import RestoreOptions
from restora_export.files import export_file
from restora_training.data.pairs import Pair, Pixels, open_pairs, pair_path, write_pair
from restora_training.data.photos import open_photos
from restora_training.data.samples import PatchMaker, source_side
from restora_training.ready import student_recipe
from restora_training.recipe import DegradationPart
from restora_training.run.trainer import StepReport, train
from restora_training.run.validate import picture_of

PAIRS_FOLDER = "pairs"
_QUESTIONS_FILE = "questions.json"
_TIMED_RUNS = 3


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """How to distill.

    student: as student_recipe takes it
    photos: folder of clean photos; None uses the free photos of installed packages
    degradation: of what the teacher is asked
    jitter, shrink: random colors of the photos, and sizes that they are also used at
    pairs: how many answers to collect; held_out of them are kept to compare with
    side: of the degraded pictures, in pixels
    steps, patch, batch, precision: of the training; patch is the side of the clean patches
    """

    student: str = "srvgg-16x64"
    photos: Path | None = None
    degradation: DegradationPart = field(default_factory=DegradationPart)
    jitter: bool = True
    shrink: tuple[float, ...] = (1.0, 0.7, 0.5)
    pairs: int = 1000
    held_out: int = 16
    side: int = 96
    steps: int = 20000
    patch: int = 192
    batch: int = 16
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs <= self.held_out:
            raise OptionError(
                f"pairs must be more than the {self.held_out} that are held out, got {self.pairs}"
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One network on the held-out pairs. PSNR in dB; MP/s of input pixels.

    psnr_teacher: None for the teacher itself
    megabytes: of the artifact; None for bicubic enlargement
    """

    name: str
    psnr_teacher: float | None
    psnr_truth: float
    ssim_truth: float
    megapixels_per_s: float
    megabytes: float | None


@dataclass(frozen=True, slots=True)
class Distilled:
    """artifact: of the student; rows: teacher, student, bicubic"""

    artifact: Path
    rows: tuple[Row, ...]


def distill(
    teacher: str | Path,
    folder: Path,
    options: DistillOptions,
    *,
    name: str | None = None,
    restore_options: RestoreOptions | None = None,
    report_pairs: Callable[[int, int], None] | None = None,
    report_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Distilled | None:
    """Distill a teacher into a student. What exists in `folder` is continued.

    teacher: name of a model, or path of an artifact or a checkpoint; it runs through the engine
    name: of the student's model; by default the student's shape
    report_pairs: called with (answers so far, answers in all)

    Returns None if should_stop ended the work early.
    Raises OptionError, AccuracyGateError if the student's artifact misses its gate, and what
    opening the teacher raises.
    """
    with Restorer(teacher, options=restore_options) as restorer:
        scale = restorer.scale
        recipe = student_recipe(
            options.student,
            folder / PAIRS_FOLDER,
            scale=scale,
            steps=options.steps,
            patch=options.patch,
            batch=options.batch,
            precision=options.precision,
            seed=options.seed,
        )
        recipe = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"held_out": options.held_out})}
        )
        collect_answers(restorer, folder / PAIRS_FOLDER, options, report_pairs, should_stop)
        if should_stop():
            return None
    result = train(recipe, folder, report=report_step, should_stop=should_stop)
    if result.stopped:
        return None
    model = name or f"{options.student}-x{scale}"
    target = folder / f"{model}.onnx"
    export_file(result.network, target, name=model, overwrite=True)
    rows = compare(teacher, target, folder / PAIRS_FOLDER, options, scale, restore_options)
    return Distilled(target, rows)


def collect_answers(
    restorer: Restorer,
    folder: Path,
    options: DistillOptions,
    report: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool],
) -> None:
    """Degrade patches of photos and keep the teacher's answers; those that exist are kept."""
    scale = restorer.scale
    patch = options.side * scale
    photos, _ = open_photos(
        options.photos, held_out=0, smallest=source_side(patch, scale), max_broken=0.1
    )
    maker = PatchMaker(
        photos,
        options.degradation,
        scale=scale,
        patch=patch,
        seed=options.seed,
        rotate=True,
        jitter=options.jitter,
        shrink=options.shrink,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _require_same_questions(folder, restorer, options)
    for number in range(options.pairs):
        if should_stop():
            return
        if not pair_path(folder, number).exists():
            sample = maker.make(0, number)
            degraded = picture_of(sample.degraded, is_face=False)
            answer = np.asarray(restorer.restore(degraded).photo.pixels, np.uint8)
            clean = picture_of(sample.clean, is_face=False)
            write_pair(folder, number, Pair(degraded, answer, clean))
        if report is not None:
            report(number + 1, options.pairs)


def _require_same_questions(folder: Path, restorer: Restorer, options: DistillOptions) -> None:
    """Raise OptionError if the folder holds answers of another teacher, or to other questions."""
    asked = {
        "teacher": restorer.output_settings(),
        "photos": None if options.photos is None else str(options.photos.resolve()),
        "degradation": options.degradation.model_dump(),
        "side": options.side,
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
            f"{folder} holds answers of another teacher, or to other photos, degradations or sizes "
            f"(see {path.name}): give another folder"
        )


def _read_questions(path: Path) -> Any:
    """What a folder of answers was asked; None if the file cannot be understood."""
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
        # an earlier version knew fewer keys, and had what are now their defaults
        part = DegradationPart.model_validate(asked["degradation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked | {"degradation": part.model_dump(mode="json")}


def compare(
    teacher: str | Path,
    student: Path,
    pairs_folder: Path,
    options: DistillOptions,
    scale: int,
    restore_options: RestoreOptions | None = None,
) -> tuple[Row, ...]:
    """Measure teacher, student and bicubic enlargement on the held-out pairs, in turns."""
    _, held_out = open_pairs(pairs_folder, scale=scale, held_out=options.held_out)
    pairs = [held_out[index] for index in range(len(held_out))]
    with (
        Restorer(teacher, options=restore_options) as large,
        Restorer(student, options=restore_options) as small,
    ):
        ways: dict[str, Callable[[Pixels], Pixels]] = {
            "teacher": lambda pixels: _restored(large, pixels),
            "student": lambda pixels: _restored(small, pixels),
            "bicubic": lambda pixels: _enlarge(pixels, scale),
        }
        seconds = _time_in_turns(ways, pairs[0].degraded)
        sizes = {
            "teacher": _megabytes_of(teacher),
            "student": _megabytes_of(student),
            "bicubic": None,
        }
        names = {"teacher": large.model, "student": small.model, "bicubic": "bicubic"}
        return tuple(
            _measure(names[way], run, pairs, seconds[way], sizes[way], against=way != "teacher")
            for way, run in ways.items()
        )


def _measure(
    name: str,
    run: Callable[[Pixels], Pixels],
    pairs: list[Pair],
    seconds: float,
    megabytes: float | None,
    *,
    against: bool,
) -> Row:
    to_teacher, to_truth, ssim = [], [], []
    for pair in pairs:
        made = run(pair.degraded)
        truth = pair.answer if pair.clean is None else pair.clean
        if against:
            to_teacher.append(peak_signal_noise_ratio(pair.answer, made, data_range=255))
        to_truth.append(peak_signal_noise_ratio(truth, made, data_range=255))
        ssim.append(structural_similarity(truth, made, data_range=255, channel_axis=2))
    pixels = pairs[0].degraded.shape[0] * pairs[0].degraded.shape[1]
    return Row(
        name,
        float(np.mean(to_teacher)) if against else None,
        float(np.mean(to_truth)),
        float(np.mean(ssim)),
        pixels / 1e6 / seconds,
        megabytes,
    )


def _time_in_turns(ways: dict[str, Callable[[Pixels], Pixels]], pixels: Pixels) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name](pixels)  # the first run of a session is slower
    for _ in range(_TIMED_RUNS):
        for name, run in ways.items():
            started = time.perf_counter()
            run(pixels)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def _restored(restorer: Restorer, pixels: Pixels) -> Pixels:
    return np.asarray(restorer.restore(pixels).photo.pixels, np.uint8)


def _enlarge(pixels: Pixels, scale: int) -> Pixels:
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _megabytes_of(model: str | Path) -> float:
    artifact = artifact_finder(model, None)(model, "uint8", "upsampler")
    return artifact.stat().st_size / 1e6
